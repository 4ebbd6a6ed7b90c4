# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The frame of a report's page and how it looks, on light screens and on dark."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --ink: #16191d; --soft: #5b6470; --line: #dfe3e8;
  --fill: #2f6fde; --other: #d97a1f; --track: #e9edf2; --right: #12794a; --wrong: #c2273f;
  --right-back: #dff5e8; --wrong-back: #fde5e9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #111418; --card: #1a1f25; --ink: #e9edf2; --soft: #98a3b0; --line: #2b323b;
    --fill: #5b93f5; --other: #f0a04b; --track: #262d36; --right: #6fdca5; --wrong: #ff8ea0;
    --right-back: #123526; --wrong-back: #43181f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1120px; padding: 40px 24px 80px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 0 0 14px; }
p { color: var(--soft); margin: 12px 0 0; }
header p { margin: 2px 0; overflow-wrap: anywhere; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 20px 22px; margin-top: 18px;
}
section > .lead { margin: -8px 0 14px; }
.pairs { display: grid; grid-template-columns: 1fr 1fr; gap: 0 18px;
  grid-auto-flow: dense; }
.pairs .wide { grid-column: 1 / -1; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px;
  margin-top: 24px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 14px 16px; display: flex; flex-direction: column; }
.tile b { font-size: 25px; font-weight: 650; letter-spacing: -0.02em; white-space: nowrap; }
.tile span { font-size: 13.5px; line-height: 1.35; }
.tile small, .note, figcaption small { color: var(--soft); font-size: 12.5px; }
.bars { display: grid; gap: 7px 40px; }
.bars.many { grid-template-columns: repeat(auto-fit, minmax(430px, 1fr)); }
.bar { display: grid; grid-template-columns: 11em 1fr 4.4em 9.5em; gap: 12px; align-items: center; }
.many .bar, .pairs .bar { grid-template-columns: 9em 1fr 4.4em 5.5em; }
.pairs section:not(.wide) .bar { grid-template-columns: 8em 1fr 4.4em 7.6em; }
.pairs .note { font-size: 11.5px; }
.bar .name { overflow-wrap: anywhere; line-height: 1.25; }
.track { position: relative; height: 14px; background: var(--track); border-radius: 4px; }
.track i { position: absolute; inset: 0 auto 0 0; background: var(--fill); border-radius: 4px; }
.track u { position: absolute; top: 6px; height: 2px; background: var(--ink); opacity: 0.75; }
.value { text-align: right; font-weight: 600; }
.reliability { display: grid; grid-template-columns: 300px minmax(0, 46ch); gap: 36px;
  align-items: center; }
svg { width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--soft); font-size: 10px; }
svg .grid { stroke: var(--line); stroke-width: 0.7; }
svg .ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
svg polyline { fill: none; stroke: var(--fill); stroke-width: 1.5; }
svg circle { fill: var(--fill); fill-opacity: 0.7; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 16px; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 10px; overflow: hidden;
  display: flex; flex-direction: column; }
figure img { width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: #000;
  display: block; }
figcaption { padding: 10px 12px 12px; display: flex; flex-direction: column; gap: 3px;
  align-items: flex-start; }
figcaption q { quotes: none; color: var(--soft); overflow-wrap: anywhere; line-height: 1.35;
  font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
figcaption b { line-height: 1.3; }
.badge { font-size: 12px; font-weight: 600; border-radius: 20px; padding: 1px 9px; }
.badge.right { color: var(--right); background: var(--right-back); }
.badge.wrong { color: var(--wrong); background: var(--wrong-back); }
.track.one, .track.other { display: block; height: 11px; margin: 2px 0; }
.track.one u, .track.other u { top: 4.5px; }
.track.other i, .key.other { background: var(--other); }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  background: var(--fill); }
.pairs-shown { display: grid; grid-template-columns: repeat(auto-fill, minmax(440px, 1fr));
  gap: 16px; }
article { border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
article header { padding: 10px 12px; display: flex; flex-direction: column; }
article header small { color: var(--soft); overflow-wrap: anywhere; }
.sides { display: grid; grid-template-columns: 1fr 1fr; }
.sides figure { border: 0; border-radius: 0; border-top: 1px solid var(--line); min-width: 0; }
.sides figure + figure { border-left: 1px solid var(--line); }
.sides figcaption b { font-weight: 500; overflow-wrap: anywhere; }
svg .curve { stroke: var(--fill); stroke-width: 1.6; fill: none; }
svg .curve.other { stroke: var(--other); }
svg .faint { stroke-width: 0.8; opacity: 0.35; }
.curves { display: grid; grid-template-columns: 1fr 1fr; gap: 30px; }
@media (max-width: 700px) {
  body { padding: 24px 14px 60px; }
  .pairs-shown, .curves { grid-template-columns: minmax(0, 1fr); }
  .bar, .many .bar, .pairs .bar, .pairs section:not(.wide) .bar {
    grid-template-columns: 7em 1fr 4.4em;
  }
  .bar .note { display: none; }
  .bar.two .note { display: block; grid-column: 2 / -1; text-align: right; }
  .bar.two .note br { display: none; }
  .bars.many, .reliability, .pairs { grid-template-columns: minmax(0, 1fr); }
}
</style>
</head>
<body>
<header>
<h1>$title</h1>
$lines
</header>
$body
<p>What each figure means: docs/evaluation.md. In pictures, what was meant is outlined in white (a
cross where there is no outline); rings are the answer's points, green where right, red where
wrong.</p>
</body>
</html>
"""
