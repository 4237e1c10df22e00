# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's style sheet: light, dark, paper and phone. Nothing is fetched."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --page: #fdfdfc; --raised: #f4f5f4; --ink: #1b2126; --quiet: #59636d; --line: #dfe3e5; --accent: #0a6c66; --before: #8a5a12;
  --noise: #59636d26; --bar: #84909a; --warn: #8a4b00; --warn-page: #fff6e6; --warn-line: #e3c48e; }
@media (prefers-color-scheme: dark) { :root { --page: #14181b; --raised: #1d2327; --ink: #e7eaec; --quiet: #a2adb6; --line: #323a40;
  --accent: #56c7bb; --before: #e0ad62;
  --noise: #a2adb633; --bar: #5c6871; --warn: #f2c078; --warn-page: #2a2217; --warn-line: #5f4a25; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
header, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 3.5rem; }
h1 { font-size: clamp(1.55rem, 1.1rem + 2vw, 2.4rem); line-height: 1.22; font-weight: 650; letter-spacing: -0.015em;
  margin: 0.4rem 0 0.8rem; max-width: 30em; text-wrap: balance; }
h2 { font-size: 1.35rem; line-height: 1.3; font-weight: 650; letter-spacing: -0.01em; margin: 0 0 0.4rem; }
h3 { font-size: 1rem; font-weight: 650; margin: 1.8rem 0 0.3rem; }
p { margin: 0 0 0.8rem; max-width: 44em; }
section { margin-top: 3.2rem; padding-top: 1.6rem; border-top: 1px solid var(--line); }
footer { margin-top: 3.5rem; padding-top: 1.2rem; padding-bottom: 3rem; color: var(--quiet); font-size: 0.875rem; }
.quiet, .eyebrow, .meta, caption, .unit { color: var(--quiet); }
.eyebrow { margin: 0; font-size: 0.875rem; font-weight: 600; }
.meta { font-size: 0.875rem; margin: 0; }
.notice { margin: 1.6rem 0 0; padding: 0.8rem 1rem; max-width: none; background: var(--warn-page); border: 1px solid var(--warn-line);
  border-left-width: 4px; border-radius: 4px; }
.notice strong { color: var(--warn); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 12.5rem), 1fr)); gap: 1.2rem 2rem; margin: 2rem 0 0; }
.tiles dt { color: var(--quiet); font-size: 0.875rem; }
.tiles dd { margin: 0; }
.tiles .value { display: block; font-size: 1.6rem; font-weight: 600; letter-spacing: -0.01em; line-height: 1.3; }
.tiles .value small { font-size: 0.875rem; font-weight: 400; letter-spacing: 0; color: var(--quiet); }
.tiles .was { color: var(--quiet); font-size: 0.875rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 0.9rem 2rem; margin: 1rem 0 0; }
.facts dt { color: var(--quiet); font-size: 0.875rem; }
.facts dd { margin: 0; min-width: 0; }
.scroll { overflow-x: auto; margin-top: 1rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-size: 0.875rem; padding: 0 0 0.6rem; }
th, td { text-align: left; vertical-align: top; padding: 0.65rem 1.1rem 0.65rem 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-size: 0.8125rem; font-weight: 500; color: var(--quiet); vertical-align: bottom; padding-top: 0; }
tbody th, tfoot th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; }
thead th, .number, .names summary { overflow-wrap: normal; }
.names summary { white-space: nowrap; }
.percentiles { max-width: 26rem; }
.percentiles th, .percentiles td { padding-top: 0.35rem; padding-bottom: 0.35rem; }
.steps tbody th p, .steps tfoot th p { font-weight: 400; font-size: 0.875rem; color: var(--quiet); margin: 0.15rem 0 0; }
.steps th:first-child { min-width: 19rem; }
.steps tfoot td, .steps tfoot th { border-bottom: 0; border-top: 2px solid var(--ink); }
.steps th:nth-child(2) { width: 27%; min-width: 13rem; }
.steps .gains div { margin-top: 0.1rem; }
.verdict { display: inline-block; font-size: 0.8125rem; font-weight: 600; white-space: nowrap; color: var(--quiet); }
figcaption .verdict { margin-left: 0.3rem; }
.verdict.kept { color: var(--accent); }
.plan th:first-child { width: 15rem; }
.plan th:nth-child(2) { width: 16rem; }
.callout { margin: 1rem 0 0; padding: 0 0 0 1rem; border-left: 3px solid var(--warn-line); }
.callout h3 { margin-top: 0; color: var(--warn); }
.callout ul { margin: 0.2rem 0 0; padding-left: 1.1rem; }
details { margin-top: 0.8rem; border: 1px solid var(--line); border-radius: 4px; padding: 0.6rem 1rem; }
summary { cursor: pointer; font-weight: 600; }
summary span { font-weight: 400; color: var(--quiet); }
details.names { margin: 0; border: 0; padding: 0; }
.names summary { font-weight: 400; }
figure { margin: 1.4rem 0 0; min-width: 0; }
figcaption { font-size: 0.875rem; color: var(--quiet); }
figcaption strong { color: var(--ink); font-size: 1rem; font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.4rem; margin: 0.2rem 0 0; font-size: 0.875rem; color: var(--quiet); }
.legend span { display: inline-flex; align-items: center; gap: 0.45rem; }
.legend svg { width: 28px; height: 12px; flex: none; }
.picture { display: grid; grid-template-columns: minmax(0, 1fr) 18rem; column-gap: 2rem; align-items: start; }
.multiples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 0.4rem 2.2rem; }
svg { display: block; overflow: visible; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums; fill: var(--quiet); }
svg.gain { width: 100%; height: 28px; }
svg.gain-axis { width: 100%; height: 16px; margin-top: 4px; }
svg.bar, svg.accuracy { width: 100%; height: 28px; }
svg.latency { width: 100%; height: 300px; padding: 16px 22px 26px 56px; }
svg.latency.small { height: 190px; }
.noise { fill: var(--noise); }
.zero { stroke: var(--quiet); stroke-width: 1; }
.whisker { stroke: var(--ink); stroke-width: 1.5; }
.mark { fill: var(--page); stroke: var(--ink); stroke-width: 1.75; }
.mark.kept { fill: var(--accent); stroke: var(--accent); }
.mark.ring { fill: none; stroke: var(--before); }
.rail { stroke: var(--line); stroke-width: 1; }
.fill { fill: var(--bar); }
.fill.kept { fill: var(--accent); }
.grid { stroke: var(--line); stroke-width: 1; }
line.objective { stroke: var(--warn); stroke-width: 1; stroke-dasharray: 2 4; }
text.objective { fill: var(--warn); }
path, polyline { fill: none; stroke-linejoin: round; }
.before { stroke: var(--before); stroke-width: 2; stroke-dasharray: 6 4; }
.after { stroke: var(--accent); stroke-width: 2.5; }
.rows { margin-top: 1rem; }
.rows > div { display: grid; grid-template-columns: minmax(9rem, 17rem) 1fr 8.5rem; column-gap: 1.2rem; align-items: center; padding: 0.2rem 0; }
.rows .number { font-size: 0.9375rem; }
.rows .name { line-height: 1.3; }
.rows .verdict { display: block; font-weight: 400; }
@media screen and (max-width: 62rem) { .picture { grid-template-columns: minmax(0, 1fr); } }
@media screen and (max-width: 46rem) {
  header, main, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.6rem; }
  section { margin-top: 2.2rem; padding-top: 1.2rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 1rem; }
  .tiles .value { font-size: 1.25rem; }
  .facts { grid-template-columns: 1fr 1fr; gap: 0.8rem 1rem; }
  .stack thead { display: none; }
  .stack, .stack tbody, .stack tfoot, .stack tr, .stack th, .stack td, .stack caption { display: block; width: auto !important; min-width: 0 !important; }
  .stack tr { padding: 0.9rem 0; border-bottom: 1px solid var(--line); }
  .stack tfoot tr { border-top: 2px solid var(--ink); border-bottom: 0; }
  .stack th, .stack td, .steps.stack tfoot th, .steps.stack tfoot td { border: 0; padding: 0.12rem 0; white-space: normal; }
  .stack td[data-label] { display: flex; justify-content: space-between; gap: 1rem; text-align: right; }
  .stack td[data-label]::before { content: attr(data-label); color: var(--quiet); text-align: left; flex: none; }
  .plan.stack td[data-label] { display: block; text-align: left; }
  .plan.stack td[data-label]::before { display: none; }
  .steps.stack .gains { padding: 0.4rem 0; }
  .rows > div { grid-template-columns: 1fr auto; padding: 0.45rem 0; }
  .rows svg { grid-row: 2; grid-column: 1 / -1; }
  svg.latency { height: 250px; }
}
@media print {
  :root { color-scheme: light; --page: #fff; --raised: #fff; --ink: #000; --quiet: #444; --line: #bbb; --accent: #0a6c66;
    --before: #8a5a12; --noise: #0000001f; --bar: #84909a;
    --warn: #703d00; --warn-page: #fff; --warn-line: #b98b45; }
  @page { margin: 16mm 14mm; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  html { font-size: 9pt; }
  header, main, footer { max-width: none; padding-left: 0; padding-right: 0; }
  header { padding-top: 0; }
  section { margin-top: 1.6rem; padding-top: 1rem; }
  h2, h3, h2 + p, h3 + p, figcaption, caption, .legend { break-after: avoid; }
  tr, caption, figure, .notice, .callout, .facts div, .tiles div, .rows > div { break-inside: avoid; }
  thead { display: table-header-group; break-inside: avoid; break-after: avoid; }
  .facts { grid-template-columns: repeat(3, 1fr); }
  tfoot { display: table-row-group; }
  .scroll { overflow: visible; }
  th, td { padding-right: 0.7rem; }
  .steps th:first-child { min-width: 0; width: 36%; }
  .steps th:nth-child(2) { min-width: 0; width: 24%; }
  svg.latency { height: 240px; }
  svg.latency.small { height: 160px; }
  details:not(.names)::details-content { content-visibility: visible; block-size: auto; }
  summary { list-style: none; }
}
"""
