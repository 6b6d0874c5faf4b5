"""The style sheet of report.html: light and dark, screen and paper."""

STYLE = """
:root { color-scheme: light dark; --page: #faf9f7; --card: #ffffff; --ink: #1d2125; --soft: #626a73; --line: #e5e3de;
  --accent: #0f6e84; --tint: #d8eaee; --before: #cfd3d6; --warn: #8a5300; --warn-tint: #fbf0dc; --good: #1f7a4d;
    --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1b1f23; --ink: #e6e8ea; --soft: #98a1aa;
  --line: #2c3238; --accent: #5cc0d6; --tint: #1d3a42; --before: #414951; --warn: #f0c069; --warn-tint: #332a17;
  --good: #6ccf9c; --bad: #f2867e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); -webkit-text-size-adjust: 100%;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", "DejaVu Sans",
    sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 56px 24px 72px; }
header { margin-bottom: 32px; }
h1 { font-size: 2.1rem; line-height: 1.2; font-weight: 640; letter-spacing: -0.02em; margin: 6px 0 8px; }
h2 { font-size: 1.05rem; font-weight: 620; margin: 0 0 14px; }
p { margin: 0 0 10px; }
.soft, .over { color: var(--soft); }
.over { font-size: 0.86rem; overflow-wrap: anywhere; }
.state { font-weight: 600; } .state.good { color: var(--good); } .state.bad { color: var(--bad); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 22px 24px; margin: 0 0
  18px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 14px; margin: 0 0 18px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px; }
.tile b { display: block; font-size: 1.65rem; line-height: 1.25; font-weight: 620; letter-spacing: -0.02em; }
.tile span { color: var(--soft); font-size: 0.84rem; }
.tile:first-child b { color: var(--accent); }
ul.notes { list-style: none; margin: 0 0 18px; padding: 0; }
ul.notes li { background: var(--warn-tint); color: var(--warn); border-radius: 10px; padding: 10px 16px; margin: 0 0
  8px; font-size: 0.92rem; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.94rem; }
th { text-align: left; font-weight: 560; color: var(--soft); font-size: 0.84rem; }
th, td { padding: 7px 10px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere;
  }
tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; padding-right: 0; padding-left: 18px; white-space: nowrap; overflow-wrap: normal; }
td.ratio { color: var(--accent); font-weight: 600; }
dl { display: grid; grid-template-columns: minmax(120px, 170px) 1fr; gap: 7px 18px; margin: 0; font-size: 0.94rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: 0.88rem/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
pre { background: var(--page); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; margin: 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--soft); font-size: 0.92rem; margin-bottom: 8px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 22px; }
text { font-size: 11.5px; fill: var(--soft); font-variant-numeric: tabular-nums; text-anchor: middle; }
text.side { text-anchor: end; paint-order: stroke; stroke: var(--card); stroke-width: 3px; }
text.axis { font-size: 12px; }
.grid { stroke: var(--line); stroke-width: 1; }
.goal { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; }
.front, .curve { fill: none; stroke: var(--accent); stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round;
  }
.front { opacity: 0.55; }
circle.trial { fill: var(--soft); opacity: 0.5; } circle.chosen { fill: var(--accent); stroke: var(--card);
  stroke-width: 2; }
circle.result { fill: var(--good); stroke: var(--card); stroke-width: 2; }
rect.before { fill: var(--before); } rect.after { fill: var(--accent); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 0.84rem; color: var(--soft); margin: 10px 0 0; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 7px; background:
  var(--soft); opacity: 0.6; }
.legend i.chosen { background: var(--accent); opacity: 1; }
.legend i.front { height: 2px; width: 16px; border-radius: 0; vertical-align: middle; background: var(--accent); }
.legend i.before { background: var(--before); border-radius: 2px; opacity: 1; } .legend i.after { background:
  var(--accent); border-radius: 2px; opacity: 1; }
.legend i.result { background: var(--good); opacity: 1; } .legend i.goal { height: 0; width: 16px; border-radius: 0;
  vertical-align: middle; background: none; border-top: 2px dashed var(--soft); opacity: 1; }
.hint { color: var(--soft); font-size: 0.86rem; margin-top: 12px; } .hint p { margin: 0 0 5px; }
.hint b { color: var(--ink); font-weight: 560; }
.layers { font-size: 0.82rem; font-variant-numeric: tabular-nums; }
.layer { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 7fr) auto; gap: 12px; align-items: center;
  padding: 3px 0; }
.layer span { overflow-wrap: anywhere; } .layer em { font-style: normal; color: var(--soft); white-space: nowrap;
  min-width: 118px; text-align: right; }
.bar { height: 7px; border-radius: 2px; min-width: 1px; margin: 1px 0; }
.bar.before { background: var(--before); } .bar.after { background: var(--accent); }
.widths { columns: 2 320px; column-gap: 32px; font-size: 0.82rem; font-variant-numeric: tabular-nums; }
.width { display: grid; grid-template-columns: minmax(0, 1fr) 96px 84px; gap: 10px; align-items: center; break-inside:
  avoid; padding: 2px 0; }
.width span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; direction: rtl; text-align: left; }
.width bdi { unicode-bidi: isolate; } .width em { font-style: normal; text-align: right; white-space: nowrap; color:
  var(--soft); }
.track { background: var(--before); border-radius: 3px; height: 8px; overflow: hidden; } .track u { display: block;
  height: 100%; background: var(--accent); }
.stages { display: flex; height: 12px; border-radius: 6px; overflow: hidden; margin-bottom: 14px; gap: 1px; } .stages
  u { background: var(--accent); min-width: 1px; }
.stages u:nth-child(even) { opacity: 0.6; }
footer { color: var(--soft); font-size: 0.84rem; margin-top: 26px; }
.narrow { display: none; }
@media (max-width: 560px) { .wide { display: none; } .narrow { display: block; } h1 { font-size: 1.6rem; }
  table { font-size: 0.86rem; } td.n, th.n { padding-left: 10px; } .tiles { grid-template-columns: 1fr 1fr; }
  .tile { padding: 12px 14px; } .tile b { font-size: 1.35rem; }
  .width span { white-space: normal; direction: ltr; overflow-wrap: anywhere; }
  .layer { grid-template-columns: 1fr auto; gap: 2px 12px; } .layer div { grid-column: 1 / 3; grid-row: 2; }
  main { padding: 28px 16px; } section { padding: 18px 16px; } dl { grid-template-columns:
  1fr; gap: 0; } dd { margin-bottom: 8px; } }
@media print { body { background: #fff; font-size: 11pt; } main { max-width: none; padding: 0; } section, .tile {
  break-inside: avoid; border-color: #ccc; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
