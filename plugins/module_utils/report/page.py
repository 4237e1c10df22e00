# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: the document as one HTML file that needs nothing else. No script, no request; all text is escaped by markup.element."""

from __future__ import annotations

import json

from ansible_collections.tfserving.fleet.plugins.module_utils.report import plots, summary, words
from ansible_collections.tfserving.fleet.plugins.module_utils.report.markup import Markup, element, join
from ansible_collections.tfserving.fleet.plugins.module_utils.report.style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_HOST_NAMES_SHOWN = 8
_CALLED = {
    "loop": "Loop", "concurrency": "Requests in flight", "rate_rps": "Rate", "window_s": "Length of a window", "warm_up_s": "Warm-up", "rounds": "Rounds",
    "confidence": "Confidence of the intervals", "minimum_gain": "Smallest gain worth keeping", "objective_p99_ms": "Latency objective (p99)",
    "noise_floor": "Noise floor", "requests": "Requests counted in the steps", "void_windows": "Void windows", "looks": "Looks at the result, at most",
    "allowed_loss": "Allowed loss of accuracy", "seed": "Seed of the arrival times", "server_cpus": "CPUs of the server",
    "generator_cpus": "CPUs of the load generator", "metric": "Task metric", "examples": "Labelled examples",
}
_UNITS = {"_ms": "ms", "_s": "s", "_rps": "requests/s", "_mib": "MiB"}
_LOOPS = {"closed": "closed: each connection sends again when its answer is there", "open": "open: Poisson arrivals, latency counted from the scheduled time"}


def render(document):
    """The HTML text of a document (see document.build)."""
    tuned, entries = summary.measured(document), {entry["host"]: entry for entry in document["hosts"]}
    body = [_header(document, tuned), element("main", _machines(document, tuned), _plans(document), [_measured(tuning, entries[tuning["host"]], len(tuned) > 1) for tuning in tuned]),
            _footer(document)]
    head = element(
        "head", element("meta", charset="utf-8"), element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY), element("meta", name="referrer", content="no-referrer"),
        element("title", document["title"]), element("style", Markup(STYLE)))
    return f"<!DOCTYPE html>\n{element('html', head, element('body', body), lang='en')}\n"


def _header(document, tuned):
    hosts = words.plural(len(document["hosts"]), "host")
    told = [hosts]
    if len(tuned) == 1:
        told = [tuned[0]["host"] if len(document["hosts"]) == 1 else f"measured on {tuned[0]['host']}, one of {hosts}",
                tuned[0]["model"] and f"model {tuned[0]['model']}"]
    strong = {False: "Embedded server, not TensorFlow Serving. ", True: None, None: None}[document["is_tensorflow_serving"]]
    return element(
        "header",
        element("p", document["title"], class_="eyebrow"),
        element("h1", summary.headline(document)),
        element("p", " · ".join(words.plain(item) for item in told + [document["measured_at"]] if item), class_="meta"),
        _tiles(tuned[0]) if len(tuned) == 1 else None,
        element("p", strong and element("strong", strong), document["statement"], class_="notice"))


def _tiles(tuning):
    total, method = tuning["total"], tuning["method"]
    within = f"within {words.milliseconds(method['objective_p99_ms'])}" if method["objective_p99_ms"] else "without a latency objective"
    accuracy, before = total["accuracy"], total["before"]
    naming = (method["metric"], method["examples"])
    return element(
        "dl",
        _tile("Goodput", words.rate(total["goodput_rps"]), f"{_was(before['goodput_rps'], words.rate)}{within}"),
        _tile("Latency p50", words.milliseconds(total["p50_ms"]), _was(before["p50_ms"], words.milliseconds)),
        _tile("Latency p99", words.milliseconds(total["p99_ms"]), _was(before["p99_ms"], words.milliseconds)),
        _tile((method["metric"] or "accuracy").capitalize(), words.metric(accuracy["after"], *naming), _was(accuracy["before"], lambda value: words.metric(value, *naming))),
        class_="tiles")


def _tile(name, value, was):
    figure, _space, unit = value.partition("\N{NO-BREAK SPACE}")
    return element("div", element("dt", name), element("dd", element("span", figure, unit and [" ", element("small", unit)], class_="value"),
                                                       element("span", was, class_="was")))


def _was(value, written):
    return "" if value is None else f"was {written(value)} "


def _machines(document, tuned):
    hosts = document["hosts"]
    measured = {tuning["host"] for tuning in tuned[:1]}
    shown = [entry for entry in hosts if entry["capabilities"] and (entry["host"] in measured or not measured)][:1]
    title = "What this machine can do" if len(hosts) == 1 else "What these machines can do"
    return element("section", element("h2", title), _class_table(document) if len(hosts) > 1 else None, [_machine(entry, len(hosts) > 1) for entry in shown],
                   None if shown else element("p", "The capabilities are not known: no host was examined.", class_="quiet"))


def _machine(entry, named):
    facts = [element("div", element("dt", name), element("dd", value)) for name, value in _facts(entry["capabilities"]) + [
        ("Tuning class", entry["class"]["tuning"] or "not known")]]
    return join(element("h3", entry["host"]) if named else None, element("dl", facts, class_="facts"))


def _facts(capabilities):
    cpu, memory = capabilities.get("cpu") or {}, capabilities.get("memory") or {}
    container, system = capabilities.get("container") or {}, capabilities.get("os") or {}
    limits = [f"{name} {words.plain(cpu[key])}" for key, name in (("cpuset", "cpuset"), ("quota", "quota")) if cpu.get(key) is not None]
    engine = f"{words.plain(container['engine'])} {words.plain(container.get('version'), '')}" if container.get("engine") else "none"
    if container.get("engine") and not container.get("answers"):
        engine += " (does not answer)"
    return [
        ("Processor", words.plain(cpu.get("brand"), "not known")),
        ("Instruction set", f"{words.plain(cpu.get('level'), 'not known')}, for AI: {words.plain(cpu.get('ai'))}"),
        ("CPUs usable", f"{words.plain(cpu.get('usable'), 'not known')} of {words.plain(cpu.get('threads'), 'not known')}" + (f" ({', '.join(limits)})" if limits else "")),
        ("Cores, sockets, NUMA nodes", " / ".join(words.plain(cpu.get(key), "not known") for key in ("cores", "sockets", "numa_nodes"))),
        ("Memory usable", _memory(memory)),
        ("GPUs", ", ".join(_gpu(gpu) for gpu in capabilities.get("gpus") or []) or "none found"),
        ("Container engine", engine),
        ("System", f"{words.plain(system.get('distribution'), 'not known')} {words.plain(system.get('version'), '')}, kernel {words.plain(system.get('kernel'), 'not known')}"),
        ("Virtualisation", words.plain((capabilities.get("virtualization") or {}).get("kind"))),
    ]


def _memory(memory):
    usable = memory.get("usable_mib")
    if not isinstance(usable, (int, float)):
        return "not known"
    limited = " (limited by its control group)" if memory.get("limit_mib") is not None else ""
    return f"{words.significant(usable / 1024)}\N{NO-BREAK SPACE}GiB{limited}"


def _gpu(gpu):
    parts = [gpu.get("product") or gpu.get("device_id"), gpu.get("compute") and f"compute {gpu['compute']}", gpu.get("mig") and "MIG"]
    return " ".join(words.plain(part) for part in parts if part) if isinstance(gpu, dict) else words.plain(gpu)


def _class_table(document):
    entries = {entry["host"]: entry for entry in document["hosts"]}
    rows = []
    for known in document["classes"]:
        members = [entries[name] for name in known["hosts"]]
        known_capabilities = next((entry["capabilities"] for entry in members if entry["capabilities"]), None)
        facts = {name: value if known_capabilities else "not known" for name, value in _facts(known_capabilities or {})}
        tuned = entries.get(known["tuned_host"])
        rows.append(element(
            "tr", element("th", known["tuning"], scope="row"), _cell("Hosts", _names(known["hosts"])),
            _cell("Processor", facts["Processor"]), _cell("CPUs usable", facts["CPUs usable"]), _cell("Memory", facts["Memory usable"]), _cell("GPUs", facts["GPUs"]),
            _cell("Gain", _class_gain(tuned))))
    heads = ("Tuning class", "Hosts", "Processor", "CPUs usable", "Memory", "GPUs", "Gain")
    return _table(f"{words.plural(len(entries), 'host')} in {words.plural(len(rows), 'class')}; a class is measured on one of its hosts.", heads, rows, "stack fleet")


def _class_gain(entry):
    if entry is None:
        return words.NOT_MEASURED
    return ", ".join(words.gain_with_interval(tuning["total"]["gain"], tuning["total"]["gain_interval"]) if any(step["kept"] for step in tuning["steps"])
                     else "baseline kept" for tuning in entry["tunings"])


def _names(names):
    if len(names) <= _HOST_NAMES_SHOWN:
        return ", ".join(names)
    return element("details", element("summary", words.plural(len(names), "host")), ", ".join(names))


def _plans(document):
    groups = {}
    for entry in document["hosts"]:
        if entry["plan"]:
            same = json.dumps({key: value for key, value in entry["plan"].items() if key != "host_class"}, sort_keys=True, default=str)
            groups.setdefault(same, []).append(entry)
    if not groups:
        return element("section", element("h2", "The plan"), element("p", "No plan was made.", class_="quiet"))
    unplanned = sum(1 for entry in document["hosts"] if not entry["plan"])
    return element(
        "section", element("h2", "The plan and its reasons"),
        [_plan(members, len(groups) > 1 or unplanned > 0, position == 0) for position, members in enumerate(groups.values())],
        element("p", f"No plan was made for {words.plural(unplanned, 'host')}.", class_="quiet") if unplanned else None)


def _plan(members, named, opened):
    plan = members[0]["plan"]
    rows = [element("tr", element("th", words.plain(decision.get("subject")), scope="row"), _cell("Choice", words.plain(decision.get("choice"))),
                    _cell("Reason", words.plain(decision.get("reason"), ""))) for decision in plan.get("decisions") or []]
    caption = f"Release of TensorFlow Serving: {words.plain(plan.get('release'), 'not named')}. Backend: {words.plain(plan.get('backend'), 'not named')}."
    warnings = [element("li", words.plain(warning)) for warning in plan.get("warnings") or []]
    refusals = [element("li", element("strong", words.plain(refusal.get("subject"))), f": {words.plain(refusal.get('reason'), '')} ",
                        element("em", words.plain(refusal.get("remedy"), ""))) for refusal in plan.get("refusals") or []]
    told = join(
        _table(caption, ("What", "Choice", "Why"), rows, "stack plan"),
        element("div", element("h3", "Warnings"), element("ul", warnings), class_="callout") if warnings else None,
        element("div", element("h3", "Refused, and what would change that"), element("ul", refusals), class_="callout") if refusals else None)
    if not named:
        return told
    hosts = [entry["host"] for entry in members]
    counts = f" · {words.plural(len(warnings), 'warning')}, {words.plural(len(refusals), 'refusal')}"
    return element("details", element("summary", words.plain(hosts[:3]) + (f" and {len(hosts) - 3:,} more" if len(hosts) > 3 else ""), element("span", counts)),
                   element("div", _names(hosts), class_="quiet") if len(hosts) > 3 else None, told, open="open" if opened else None)


def _measured(tuning, entry, named):
    suffix = f": {tuning['model']} on {tuning['host']}" if named else ""
    return join(_steps(tuning, suffix), _goodput(tuning, suffix), _latency(tuning, suffix), _accuracy(tuning, entry["checks"], suffix),
                _method(tuning, entry["server"] or {}, suffix))


def _steps(tuning, suffix):
    steps, total, method = tuning["steps"], tuning["total"], tuning["method"]
    scale = plots.gain_scale(steps)
    gains = [element("span", "Gain in goodput, with its interval"), plots.gain_axis(scale)]
    heads = ("Step", gains, "Goodput, requests/s", "p50, ms", "p99, ms", "Requests", "Accuracy")
    floor = f" The shaded band is the noise floor: what the same configuration gains over itself by chance (here {words.share(method['noise_floor'])})." \
        if method["noise_floor"] is not None else ""
    caption = f"Each step is measured against the best so far, in turns.{floor} A full mark is kept, a hollow one is not."
    return element(
        "section", element("h2", f"Step by step{suffix}"),
        _table(caption, heads, [_step_row(step, method, scale) for step in steps], "steps stack",
               element("tfoot", _step_row(dict(total, name="Final configuration against the start"), method, scale, verdict=False))))


def _step_row(step, method, scale, verdict=True):
    gain = element("div", words.gain_with_interval(step["gain"], step["gain_interval"]))
    change = words.plain(step["change"], "") if verdict else ""
    return element(
        "tr",
        element("th", step["name"], element("p", [_verdict(step), " "] if verdict else None, step["reason"]),
                element("p", f"Change: {change}") if change else None, scope="row"),
        element("td", plots.gain_mark(step, scale) if verdict else None, gain, class_="gains"),
        _number("Goodput, requests/s", words.figure(step["goodput_rps"])), _number("p50, ms", words.figure(step["p50_ms"])),
        _number("p99, ms", words.figure(step["p99_ms"])), _number("Requests", words.count(step["requests"])), _number("Accuracy", _accuracy_words(step, method)))


def _verdict(step):
    if step["kept"]:
        return element("span", "✓ kept", class_="verdict kept")
    return element("span", "✕ not kept" if step["gain"] is not None else "∅ not measured", class_="verdict")


def _goodput(tuning, suffix):
    total, method = tuning["total"], tuning["method"]
    known = [step for step in tuning["steps"] if step["goodput_rps"] is not None]
    drawn = known + [total] if total["goodput_rps"] is not None else known
    if not drawn:
        return None
    highest = max(bound for step in drawn for bound in (step["goodput_rps"], *(_bounds(step) or ()), step["before"]["goodput_rps"] or 0)) * 1.02 or 1.0
    start = total["before"]["goodput_rps"]
    rows = [] if start is None else [_bar("Start", None, start, None, None, highest, False)]
    rows += [_bar(step["name"], _verdict(step), step["goodput_rps"], _bounds(step), _noise(step), highest, step["kept"]) for step in known]
    rows += [_bar("Final configuration", None, step["goodput_rps"], _bounds(step), None, highest, True) for step in drawn if step is total]
    objective = method["objective_p99_ms"]
    told = f"requests answered without error within {words.milliseconds(objective)}" if objective else "requests answered without error; no latency objective was set"
    missing = len(tuning["steps"]) - len(known)
    return element(
        "section", element("h2", f"Goodput{suffix}"),
        element("p", f"Goodput is the rate of {told}. The line on a bar is the interval of the gain, carried over to requests per second; "
                     "the shaded band is the noise around what the step was compared with."),
        element("div", rows, class_="rows"),
        element("p", f"{words.plural(missing, 'step')} without a goodput: not measured.", class_="quiet") if missing else None)


def _bar(name, verdict, value, interval, noise, highest, kept):
    return element("div", element("div", name, " ", verdict, class_="name"), plots.goodput_bar(value, interval, noise, highest, kept, f"{name}: {words.rate(value)}"),
                   element("div", words.rate(value), class_="number"))


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
        pictures.insert(0, _latency_picture(f"Start and final configuration under the same rate, {words.rate(rate)} at random times", {
            "name": "start and final configuration at one rate", "requests": min(before["requests"] or 0, after["requests"] or 0) or None,
            "curve_before": before["curve"], "curve_after": after["curve"]}, objective))
    scale = plots.latency_scale(tuning["steps"])
    parts = [(step, plots.latency(step, scale, objective, small=True)) for step in tuning["steps"]]
    figures = [element("figure", element("figcaption", element("strong", step["name"]), " ", _verdict(step)), plot) for step, plot in parts if plot]
    if not figures and not any(pictures):
        return element("section", element("h2", f"Latency{suffix}"), element("p", "No latency distribution was handed over, so none is drawn.", class_="quiet"))
    without = ", ".join(step["name"] for step, plot in parts if plot is None)
    return element(
        "section", element("h2", f"Latency{suffix}"),
        element("p", "Read a curve so: this share of the requests (across; each mark stands for ten times fewer requests beyond it) was answered within this time "
                     "(up; logarithmic). A curve ends where fewer than ten requests lie beyond it."),
        pictures,
        [element("h3", "Step by step"), _legend("without the step", "with it"), element("div", figures, class_="multiples")] if figures else None,
        element("p", f"Not drawn for want of a distribution: {without}.", class_="quiet") if without else None)


def _latency_picture(caption, total, objective):
    plot = plots.latency(total, plots.latency_scale([total]), objective)
    return plot and element("figure", element("figcaption", element("strong", caption), _legend("start", "final")), plot, _percentiles(total))


def _legend(before, after):
    def line(kind):
        return element("svg", element("line", class_=kind, x1="0", x2="28", y1="6", y2="6"), aria_hidden="true")
    return element("div", element("span", line("before"), before), element("span", line("after"), after), class_="legend")


def _percentiles(total):
    curves, rows = [plots.supported(total[key], total["requests"]) for key in ("curve_before", "curve_after")], []
    for fraction, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")):
        values = [words.figure(plots.at_fraction(curve, fraction)) for curve in curves]
        rows.append(element("tr", element("th", name, scope="row"), [element("td", value, class_="number") for value in values]))
    return _table("The same in figures", ("Percentile", "Start, ms", "Final, ms"), rows, "percentiles")


def _accuracy(tuning, checks, suffix):
    steps, method = [step for step in tuning["steps"] + [tuning["total"]] if None not in step["accuracy"].values()], tuning["method"]
    checks = [_check(check) for check in checks]
    if not steps and not checks:
        return element("section", element("h2", f"Accuracy{suffix}"), element("p", "Accuracy was not measured.", class_="quiet"))
    values = [value for step in steps for value in step["accuracy"].values()]
    rows, told = [], None
    if values:
        middle, reach = (min(values) + max(values)) / 2, max(max(values) - min(values), 0.02 * max(abs(value) for value in values) or 0.01)
        scale = plots.Scale(middle - reach, min(middle + reach, 1.0) if max(values) <= 1 else middle + reach)
        over = f" over {words.count(method['examples'])} labelled examples" if method["examples"] else ""
        ends = [words.metric(end, method["metric"], method["examples"]) for end in (scale.low, scale.high)]
        told = element("p", f"{(method['metric'] or 'accuracy').capitalize()}{over}, before each step (ring) and after it (dot). "
                            f"The lines run from {ends[0]} to {ends[1]}, not from zero.")
        for step in steps:
            before, after = step["accuracy"]["before"], step["accuracy"]["after"]
            name = "Final against start" if step is tuning["total"] else step["name"]
            rows.append(element("div", element("div", name, class_="name"), plots.accuracy_mark(before, after, scale, f"{name}: {_accuracy_words(step, method)}"),
                                element("div", _accuracy_words(step, method), class_="number")))
    return element("section", element("h2", f"Accuracy{suffix}"), told, element("div", rows, class_="rows") if rows else None, checks)


def _check(check):
    rows = [element("tr", element("th", name, scope="row"), [element("td", words.NOT_MEASURED if value is None else words.significant(value, 2), class_="number")
                                                          for value in ((difference or {}).get("max_abs"), (difference or {}).get("max_rel"))])
            for name, difference in (check.get("outputs") or {}).items()]
    name, examples = check.get("model") or "the served model", check.get("examples")
    return _table(f"What {words.plain(name)} answers against its source model, over {words.plain(examples, 'an unknown number of')} examples",
                  ("Output", "Largest absolute difference", "Largest relative difference"), rows, "") if rows else None


def _accuracy_words(step, method):
    return words.metric_change(step["accuracy"]["before"], step["accuracy"]["after"], method["metric"], method["examples"])


def _method(tuning, server, suffix):
    method = tuning["method"]
    facts = [("Server", ", ".join(words.plain(part) for part in (tuning["backend"], server.get("version")) if part))]
    facts += [(_CALLED.get(key, key.replace("_", " ").capitalize()), _setting(key, value)) for key, value in method.items() if key not in ("void_reasons", "note")]
    facts += [(name, words.plain(tuning[key], "")) for key, name in (("start", "Start"), ("configuration", "Final configuration")) if tuning[key]]
    reasons = [element("li", reason) for reason in method["void_reasons"]]
    return element(
        "section", element("h2", f"How it was measured{suffix}"),
        element("p", "Every candidate is measured in short windows that alternate with windows of the best configuration so far, so that whatever else happens on the "
                     "machine hits both alike. It is kept only where accuracy holds, the latency objective holds, and the gain is larger than the noise floor."),
        element("p", method["note"]) if method.get("note") else None,
        element("dl", [element("div", element("dt", name), element("dd", value)) for name, value in facts], class_="facts"),
        element("div", element("h3", "Why windows were void and not counted"), element("ul", reasons), class_="callout") if reasons else None)


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


def _table(caption, heads, rows, kind, foot=None):
    head = element("thead", element("tr", [element("th", name, scope="col", class_="number" if _right(name, kind) else None) for name in heads]))
    return element("div", element("table", element("caption", caption), head, element("tbody", rows), foot, class_=kind or None), class_="scroll")


def _right(name, kind):
    return kind in ("steps stack", "percentiles", "") and isinstance(name, str) and name not in ("Step", "Percentile", "Output")


def _cell(label, value):
    return element("td", element("span", value), data_label=label)


def _number(label, value):
    return element("td", value, class_="number", data_label=label)


def _footer(document):
    return element("footer", element("p", f"Made by {document['generated_by']}. The same as data stands beside this page in report.json."))
