# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's part about one tuning: its steps, goodput, latency, accuracy, and how it was measured."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._report import plots, words
from ansible_collections.tfserving.fleet.plugins.module_utils._report.markup import cell, element, facts, join, table

_CALLED = {
    "loop": "Loop",
    "concurrency": "Requests in flight",
    "rate_rps": "Rate",
    "window_s": "Length of a window",
    "warm_up_s": "Warm-up",
    "rounds": "Rounds",
    "confidence": "Confidence of the intervals",
    "minimum_gain": "Smallest gain worth keeping",
    "objective_p99_ms": "Latency objective (p99)",
    "noise_floor": "Noise floor",
    "requests": "Requests counted in the steps",
    "void_windows": "Void windows",
    "looks": "Looks at the result, at most",
    "allowed_loss": "Allowed loss of accuracy",
    "seed": "Seed of the arrival times",
    "server_cpus": "CPUs of the server",
    "generator_cpus": "CPUs of the load generator",
    "metric": "Task metric",
    "examples": "Labelled examples",
}
_TOLD_APART = ("void_reasons", "note")
_UNITS = {"_ms": "ms", "_s": "s", "_rps": "requests/s", "_mib": "MiB"}
_LOOPS = {
    "closed": "closed: each connection sends again when its answer is there",
    "open": "open: Poisson arrivals, latency counted from the scheduled time",
}


def sections(tuning, entry, named):
    """All sections of a tuning. entry: its host in the document. named: whether headings name model and host."""
    suffix = f": {tuning['model']} on {tuning['host']}" if named else ""
    return join(
        _steps(tuning, suffix),
        _goodput(tuning, suffix),
        _latency(tuning, suffix),
        _accuracy(tuning, entry["checks"], suffix),
        _method(tuning, entry["server"] or {}, suffix),
    )


def _steps(tuning, suffix):
    steps, total, method = tuning["steps"], tuning["total"], tuning["method"]
    scale = plots.gain_scale(steps)
    gains = join(element("span", "Gain in goodput, with its interval"), plots.gain_axis(scale))
    heads = ("Step", gains, ">Goodput, requests/s", ">p50, ms", ">p99, ms", ">Requests", ">Accuracy")
    floor = (
        f" The shaded band is the noise floor: what a configuration gains over itself by chance (the start: {words.share(method['noise_floor'])})."
        if method["noise_floor"] is not None
        else ""
    )
    caption = (
        f"Each step is measured against the best so far, in turns.{floor} A full mark is kept, a hollow one is not."
    )
    return element(
        "section",
        element("h2", f"Step by step{suffix}"),
        table(
            caption,
            heads,
            [_step_row(step, method, scale) for step in steps],
            "steps stack",
            element(
                "tfoot",
                _step_row(dict(total, name="Final configuration against the start"), method, scale, verdict=False),
            ),
        ),
    )


def _step_row(step, method, scale, verdict=True):
    gain = element("div", words.gain_with_interval(step["gain"], step["gain_interval"]))
    change = words.plain(step["change"], "") if verdict else ""
    return element(
        "tr",
        element(
            "th",
            step["name"],
            element("p", [_verdict(step), " "] if verdict else None, step["reason"]),
            element("p", f"Change: {change}") if change else None,
            scope="row",
        ),
        element("td", plots.gain_mark(step, scale) if verdict else None, gain, class_="gains"),
        [
            cell(label, value, number=True)
            for label, value in (
                ("Goodput, requests/s", words.figure(step["goodput_rps"])),
                ("p50, ms", words.figure(step["p50_ms"])),
                ("p99, ms", words.figure(step["p99_ms"])),
                ("Requests", words.count(step["requests"])),
                ("Accuracy", _accuracy_words(step, method)),
            )
        ],
    )


def _verdict(step):
    if step.get("advice"):
        return element("span", "→ advice to clients", class_="verdict")
    if step["kept"]:
        return element("span", "✓ kept", class_="verdict kept")
    return element("span", "✕ not kept" if step["gain"] is not None else "∅ not measured", class_="verdict")


def _goodput(tuning, suffix):
    total, method = tuning["total"], tuning["method"]
    known = [step for step in tuning["steps"] if step["goodput_rps"] is not None]
    drawn = known + [total] if total["goodput_rps"] is not None else known
    if not drawn:
        return None
    values = [
        value
        for step in drawn
        for value in (step["goodput_rps"], step["before"]["goodput_rps"] or 0, *(_bounds(step) or ()))
    ]
    highest = max(values) * 1.02 or 1.0
    start = total["before"]["goodput_rps"]
    rows = [] if start is None else [_bar("Start", None, start, None, None, highest, False)]
    rows += [
        _bar(step["name"], _verdict(step), step["goodput_rps"], _bounds(step), _noise(step), highest, step["kept"])
        for step in known
    ]
    rows += [
        _bar("Final configuration", None, step["goodput_rps"], _bounds(step), None, highest, True)
        for step in drawn
        if step is total
    ]
    objective = method["objective_p99_ms"]
    told = (
        f"without error within {words.milliseconds(objective)}"
        if objective
        else "without error; no latency objective was set"
    )
    missing = len(tuning["steps"]) - len(known)
    return element(
        "section",
        element("h2", f"Goodput{suffix}"),
        element(
            "p",
            f"Goodput is the rate of requests answered {told}. The line on a bar is the interval of the gain, carried over to requests per second; "
            "the shaded band is the noise around what the step was compared with.",
        ),
        element("div", rows, class_="rows"),
        element("p", f"{words.plural(missing, 'step')} without a goodput: not measured.", class_="quiet")
        if missing
        else None,
    )


def _bar(name, verdict, value, interval, noise, highest, kept):
    drawn = plots.goodput_bar(value, interval, noise, highest, kept, f"{name}: {words.rate(value)}")
    return _picture_row([name, " ", verdict], drawn, words.rate(value))


def _picture_row(name, drawn, value):
    return element("div", element("div", name, class_="name"), drawn, element("div", value, class_="number"))


def _compared(step):
    """The goodput that the step's gain is relative to."""
    if step["before"]["goodput_rps"] is not None or step["gain"] is None or step["gain"] <= -1:
        return step["before"]["goodput_rps"]
    return step["goodput_rps"] / (1 + step["gain"])


def _bounds(step):
    low, high = step["gain_interval"] or (None, None)
    compared = _compared(step)
    return None if compared is None or low is None or high is None else (compared * (1 + low), compared * (1 + high))


def _noise(step):
    compared, floor = _compared(step), step["noise_floor"]
    return None if compared is None or floor is None else (compared * (1 - floor), compared * (1 + floor))


def _latency(tuning, suffix):
    objective, total = tuning["method"]["objective_p99_ms"], tuning["total"]
    pictures = [_latency_picture("Start and final configuration, requests in flight held constant", total, objective)]
    if total["open_loop"]:
        rate, before, after = (total["open_loop"][key] for key in ("rate_rps", "before", "after"))
        pictures.insert(
            0,
            _latency_picture(
                f"Start and final configuration under the same rate, {words.rate(rate)} at random times",
                {
                    "name": "start and final configuration at one rate",
                    "requests": min(before["requests"] or 0, after["requests"] or 0) or None,
                    "curve_before": before["curve"],
                    "curve_after": after["curve"],
                },
                objective,
            ),
        )
    scale = plots.latency_scale(tuning["steps"])
    parts = [(step, plots.latency(step, scale, objective, small=True)) for step in tuning["steps"]]
    figures = [
        element("figure", element("figcaption", element("strong", step["name"]), " ", _verdict(step)), plot)
        for step, plot in parts
        if plot
    ]
    if not figures and not any(pictures):
        return element(
            "section",
            element("h2", f"Latency{suffix}"),
            element("p", "No latency distribution was handed over, so none is drawn.", class_="quiet"),
        )
    without = ", ".join(step["name"] for step, plot in parts if plot is None)
    return element(
        "section",
        element("h2", f"Latency{suffix}"),
        element(
            "p",
            "Read a curve so: this share of the requests (across; 90 %, 99 % and 99.9 % each leave ten times fewer beyond) was answered within "
            "this time (up; logarithmic). A curve ends where too few requests lie beyond it to tell.",
        ),
        pictures,
        [
            element("h3", "Step by step"),
            _legend("without the step", "with it"),
            element("div", figures, class_="multiples"),
        ]
        if figures
        else None,
        element("p", f"Not drawn for want of a distribution: {without}.", class_="quiet") if without else None,
    )


def _latency_picture(caption, total, objective):
    plot = plots.latency(total, plots.latency_scale([total]), objective)
    return plot and element(
        "figure",
        element("figcaption", element("strong", caption), _legend("start", "final")),
        element("div", plot, _percentiles(total), class_="picture"),
    )


def _legend(before, after):
    def line(kind):
        return element("svg", element("line", class_=kind, x1="0", x2="28", y1="6", y2="6"), aria_hidden="true")

    return element(
        "div", element("span", line("before"), before), element("span", line("after"), after), class_="legend"
    )


def _percentiles(total):
    curves, rows = [plots.supported(total[key], total["requests"]) for key in ("curve_before", "curve_after")], []
    for fraction, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")):
        values = [plots.at_fraction(curve, fraction) for curve in curves]
        if values != [None, None]:
            rows.append(_figures_row(name, [words.figure(value) for value in values]))
    return table("The same in figures", ("Percentile", ">Start, ms", ">Final, ms"), rows, "percentiles")


def _figures_row(name, values):
    return element("tr", element("th", name, scope="row"), [element("td", value, class_="number") for value in values])


def _accuracy(tuning, checks, suffix):
    steps, method = (
        [step for step in tuning["steps"] + [tuning["total"]] if None not in step["accuracy"].values()],
        tuning["method"],
    )
    checks = [_check(check) for check in checks]
    if not steps and not checks:
        return element(
            "section", element("h2", f"Accuracy{suffix}"), element("p", "Accuracy was not measured.", class_="quiet")
        )
    values = [value for step in steps for value in step["accuracy"].values()]
    rows, told = [], None
    if values:
        middle, reach = (
            (min(values) + max(values)) / 2,
            max(max(values) - min(values), 0.02 * max(abs(value) for value in values) or 0.01),
        )
        scale = plots.Scale(middle - reach, min(middle + reach, 1.0) if max(values) <= 1 else middle + reach)
        over = f" over {words.count(method['examples'])} labelled examples" if method["examples"] else ""
        ends = [words.metric(end, method["metric"], method["examples"]) for end in (scale.low, scale.high)]
        told = element(
            "p",
            f"{(method['metric'] or 'accuracy').capitalize()}{over}, before (ring) and after (dot). "
            f"The lines run from {ends[0]} to {ends[1]}, not from zero.",
        )
        for step in steps:
            before, after = step["accuracy"]["before"], step["accuracy"]["after"]
            name = "Final against start" if step is tuning["total"] else step["name"]
            changed = _accuracy_words(step, method)
            rows.append(_picture_row(name, plots.accuracy_mark(before, after, scale, f"{name}: {changed}"), changed))
    return element(
        "section",
        element("h2", f"Accuracy{suffix}"),
        told,
        element("div", rows, class_="rows") if rows else None,
        checks,
    )


def _check(check):
    rows = [
        _figures_row(name, [words.figure(difference[key]) for key in ("max_abs", "max_rel")])
        for name, difference in check["outputs"].items()
    ]
    name, examples = check.get("model") or "the served model", check.get("examples")
    return (
        table(
            f"What {words.plain(name)} answers against its source model, over {words.plain(examples, 'an unknown number of')} examples",
            ("Output", ">Largest absolute difference", ">Largest relative difference"),
            rows,
        )
        if rows
        else None
    )


def _accuracy_words(step, method):
    return words.metric_change(
        step["accuracy"]["before"], step["accuracy"]["after"], method["metric"], method["examples"]
    )


def _method(tuning, server, suffix):
    method = tuning["method"]
    told = [("Server", ", ".join(words.plain(part) for part in (tuning["backend"], server.get("version")) if part))]
    told += [
        (_CALLED.get(key, key.replace("_", " ").capitalize()), _setting(key, value))
        for key, value in method.items()
        if key not in _TOLD_APART
    ]
    told += [
        (name, words.plain(tuning[key], ""))
        for key, name in (("start", "Start"), ("configuration", "Final configuration"))
        if tuning[key]
    ]
    reasons = [element("li", reason) for reason in method["void_reasons"]]
    return element(
        "section",
        element("h2", f"How it was measured{suffix}"),
        element(
            "p",
            "Every candidate is measured in short windows that alternate with windows of the best configuration so far, so that whatever else "
            "happens on the machine hits both alike. It is kept only where accuracy holds, the latency objective holds, and the gain is larger "
            "than the noise floor.",
        ),
        element("p", method["note"]) if method.get("note") else None,
        facts(told),
        element("div", element("h3", "Why windows were void and not counted"), element("ul", reasons), class_="callout")
        if reasons
        else None,
    )


def _setting(key, value):
    if value is None:
        return "all, shared" if key.endswith("_cpus") else "none"
    if key in ("noise_floor", "minimum_gain", "confidence", "allowed_loss") and isinstance(value, (int, float)):
        return words.share(value)
    if key == "loop":
        return _LOOPS.get(value, words.plain(value))
    unit = next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), None)
    if isinstance(value, int) and not isinstance(value, bool):
        value = words.count(value)
    return words.plain(value) + (f"\N{NO-BREAK SPACE}{unit}" if unit else "")
