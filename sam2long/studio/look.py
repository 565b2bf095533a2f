"""How the page looks, and the few lines of JavaScript that turn clicks into events with coordinates."""

from __future__ import annotations

MODES = ["Click or box", "Thin brush", "Thick brush"]

# One listener on the part that stays; what it shows is replaced with every frame. A drag is a box, or a
# stroke where a brush is chosen; the right button or Shift says "not this".
STAGE_SCRIPT = """
let from = null;
const place = (event) => {
  const stage = element.querySelector('.s2l-stage[data-width]');
  if (!stage) return null;
  const box = stage.getBoundingClientRect();
  const share = (value, low, size) => Math.min(1, Math.max(0, (value - low) / size));
  return {stage, px: event.clientX - box.left, py: event.clientY - box.top,
          x: share(event.clientX, box.left, box.width) * stage.dataset.width,
          y: share(event.clientY, box.top, box.height) * stage.dataset.height};
};
const rubber = (to) => {
  const style = to.stage.querySelector('.s2l-rubber').style;
  style.left = Math.min(from.px, to.px) + 'px'; style.top = Math.min(from.py, to.py) + 'px';
  style.width = Math.abs(from.px - to.px) + 'px'; style.height = Math.abs(from.py - to.py) + 'px';
  style.display = 'block';
};
const far = (to) => Math.hypot(from.px - to.px, from.py - to.py) > 6;
const brush = (stage) => {
  const mode = document.querySelector('#s2l-mode label.selected')?.innerText ?? '';
  const share = mode.includes('Thin') ? 0.009 : mode.includes('Thick') ? 0.03 : 0;
  return share * Math.max(stage.dataset.width, stage.dataset.height);
};
const paint = (to) => {
  from.stroke.push([to.x, to.y]);
  if (!from.line || !from.line.isConnected) {
    from.line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
    from.line.setAttribute('style', 'fill:none;stroke-linecap:round;stroke-linejoin:round;opacity:.65;' +
      `stroke:${from.negative ? '#111' : '#fff'};stroke-width:${2 * from.radius}`);
    to.stage.querySelector('svg').append(from.line);
  }
  from.line.setAttribute('points', from.stroke.map((p) => p.join(',')).join(' ') + ` ${to.x + 0.01},${to.y}`);
};
element.addEventListener('contextmenu', (event) => event.preventDefault());
element.addEventListener('pointerdown', (event) => {
  from = event.target.closest('.s2l-stage') ? place(event) : null;
  if (!from) return;
  event.preventDefault();
  from.negative = event.button === 2 || event.shiftKey;
  from.radius = brush(from.stage);
  from.stroke = [];
  if (from.radius) paint(from);
});
window.addEventListener('pointermove', (event) => {
  const to = from && place(event);
  if (to && from.radius) paint(to);
  else if (to && far(to)) rubber(to);
});
window.addEventListener('pointerup', (event) => {
  const begun = from, to = from && place(event);
  if (!to) { from = null; return; }
  const sent = {box: null, point: null, stroke: null, radius: begun.radius, negative: begun.negative};
  if (begun.radius) sent.stroke = begun.stroke;
  else if (far(to)) sent.box = [begun.x, begun.y, to.x, to.y];
  else sent.point = [to.x, to.y];
  to.stage.querySelector('.s2l-rubber').style.display = 'none';
  from = null;
  trigger('click', sent);
});
"""

TIMELINE_SCRIPT = """
element.addEventListener('click', (event) => {
  const line = event.target.closest('.s2l-line');
  if (!line) return;
  const chosen = line.dataset.object ? Number(line.dataset.object) : null;
  const mark = event.target.closest('[data-frame]');
  const field = event.target.closest('.s2l-field');
  let frame = null;
  if (mark) frame = Number(mark.dataset.frame);
  else if (field) {
    const box = field.getBoundingClientRect();
    const frames = Number(line.closest('.s2l-time').dataset.frames);
    frame = Math.min(frames - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * frames)));
  }
  trigger('click', {frame, chosen});
});
"""

REVIEW_SCRIPT = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('[data-choice]');
  const chip = event.target.closest('[data-frame]');
  if (card) trigger('click', {choice: Number(card.dataset.choice), frame: null});
  else if (chip) trigger('click', {choice: null, frame: Number(chip.dataset.frame)});
});
"""

SURE_SCRIPT = "() => [confirm('Forget all objects and masks of this video? This cannot be undone.')]"

# Arrow keys step through the video, but not while somebody types.
KEYS_SCRIPT = """
() => {
  document.addEventListener('keydown', (event) => {
    if (event.target.closest('input, textarea, select, [contenteditable]')) return;
    const button = {ArrowLeft: '#s2l-back', ArrowRight: '#s2l-next'}[event.key];
    if (button) { document.querySelector(button)?.click(); event.preventDefault(); }
    if (event.key === 'z' && (event.ctrlKey || event.metaKey)) document.querySelector('#s2l-undo')?.click();
  });
}
"""

CSS = """
.gradio-container { max-width: 1720px !important; margin: 0 auto; }
.s2l-title-row h1 { font-size: 1.35rem; margin: 0; }
.s2l-title-row p { margin: 2px 0 0; opacity: .7; }
.s2l-step { font-weight: 650; font-size: 1.02rem; margin: 2px 0 4px; display: flex; align-items: center; gap: 9px; }
.s2l-step b { display: inline-flex; width: 25px; height: 25px; border-radius: 50%; align-items: center;
  justify-content: center; background: var(--primary-600); color: #fff; font-size: .85rem; }
.s2l-panel { background: var(--block-background-fill); border: 1px solid var(--border-color-primary);
  border-radius: 12px; padding: 12px 14px; gap: 9px; }
.s2l-panel .block, .s2l-panel .form { border-radius: 8px; }
.s2l-panel button { border-radius: 8px; white-space: nowrap; }
.s2l-panel .html-container, #s2l-stage .html-container, #s2l-timeline .html-container,
#s2l-review .html-container, .s2l-bare .html-container { padding: 0; }
.s2l-panel input[type=text], .s2l-panel textarea { border: 1px solid var(--border-color-primary) !important;
  border-radius: 8px; padding: 7px 10px; }
#s2l-formats .wrap { flex-direction: column; flex-wrap: nowrap; gap: 3px; }
#s2l-formats label { width: 100%; font-size: .84rem; }
#s2l-download { display: block; max-width: 100%; overflow: hidden; text-overflow: ellipsis; }
#s2l-formats label, #s2l-objects label, #s2l-mode label { padding: 5px 10px; }
#s2l-mode label { font-size: .84rem; } #s2l-mode label span { margin-left: 0; } #s2l-mode .wrap { gap: 6px; }
#s2l-scrub { align-items: center; gap: 12px; }
.s2l-video { overflow-wrap: anywhere; }
.s2l-hint, .s2l-video, .s2l-why { margin: 2px 0 6px; font-size: .88rem; opacity: .82; }
.s2l-why { opacity: 1; font-weight: 600; margin-top: 10px; }
.s2l-stage { position: relative; width: fit-content; max-width: 100%; margin: 0 auto; border-radius: 10px;
  overflow: hidden; background: #18181b; cursor: crosshair; user-select: none; touch-action: none; line-height: 0; }
.s2l-stage img { display: block; height: min(62vh, 760px); max-width: 100%; object-fit: fill; }
.s2l-stage svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.s2l-empty { width: 100%; height: min(56vh, 560px); display: flex; align-items: center; justify-content: center;
  line-height: 1.7; text-align: center; cursor: default; }
.s2l-empty, .s2l-empty * { color: #d4d4d8 !important; }
.s2l-rubber { position: absolute; display: none; border: 2px dashed #fff; background: rgba(255,255,255,.14);
  pointer-events: none; }
#s2l-stage, #s2l-timeline, #s2l-review { padding: 0; }
.s2l-time { border-radius: 10px; background: #18181b; padding: 8px 10px; color: #e4e4e7; max-height: 330px;
  overflow-y: auto; }
.s2l-line { display: flex; align-items: center; gap: 10px; cursor: pointer; padding: 1px 0; }
.s2l-label { color: #e4e4e7; flex: 0 0 150px; font-size: .8rem; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.s2l-label small { color: #e4e4e7; display: block; opacity: .6; font-size: .68rem; white-space: normal;
  line-height: 1.2; }
.s2l-chosen .s2l-label { font-weight: 700; color: #fff; }
.s2l-field { position: relative; flex: 1; background: #27272a; border-radius: 4px; overflow: hidden; line-height: 0; }
.s2l-chosen .s2l-field { background: #3a3a40; }
.s2l-field svg { width: 100%; display: block; }
.s2l-head { position: absolute; top: 0; bottom: 0; left: var(--s2l-head, 0%); width: 2px; background: #fff;
  pointer-events: none; }
.s2l-curve { margin-top: 4px; }
.s2l-dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 6px; }
.s2l-zero { stroke: #71717a; stroke-width: 1; vector-effect: non-scaling-stroke; }
.s2l-shown { fill: #fff; }
.s2l-doubt { fill: #f59e0b; stroke: #18181b; stroke-width: 1; vector-effect: non-scaling-stroke; }
.s2l-doubt:hover { fill: #fde047; }
.s2l-legend { font-size: .76rem; opacity: .75; margin: 4px 2px 0; }
.s2l-legend i { display: inline-block; width: 9px; height: 9px; margin: 0 4px 0 12px; border-radius: 2px; }
#s2l-objects label::before { content: ""; width: 12px; height: 12px; border-radius: 50%; flex: none; }
#s2l-objects input, #s2l-mode input { position: absolute; opacity: 0; width: 0; }
#s2l-objects .wrap { max-height: 220px; overflow-y: auto; }
.s2l-bar { height: 9px; border-radius: 5px; background: var(--neutral-200); overflow: hidden; }
.dark .s2l-bar { background: var(--neutral-700); }
.s2l-bar div { height: 100%; background: var(--primary-600); transition: width .3s; }
.s2l-stopped .s2l-bar div { background: #f59e0b; } .s2l-failed .s2l-bar div { background: #ef4444; }
.s2l-progress p { margin: 5px 0 0; font-size: .88rem; }
.s2l-chip { border: 0; border-radius: 6px; padding: 3px 9px; margin: 0 5px 5px 0; background: #fef3c7; color: #78350f;
  font-size: .82rem; cursor: pointer; }
.s2l-chip:hover { background: #fde68a; } .s2l-chip.s2l-here { background: #f59e0b; color: #fff; }
.s2l-cards { display: flex; flex-wrap: wrap; gap: 12px; }
.s2l-card { position: relative; border: 2px solid var(--border-color-primary); border-radius: 10px; padding: 6px;
  background: var(--background-fill-primary); cursor: pointer; text-align: center; font-size: .82rem; width: 260px; }
.s2l-card img { width: 100%; border-radius: 6px; display: block; margin-bottom: 5px; }
.s2l-card:hover { border-color: var(--primary-500); } .s2l-card.s2l-answer { border-color: #22c55e; }
.s2l-now { position: absolute; top: 12px; right: 12px; background: #22c55e; color: #fff; padding: 1px 8px;
  border-radius: 9px; }
footer { display: none !important; }
"""

LEGEND = (
    '<p class="s2l-legend"><i style="background:#a1a1aa"></i>seen<i style="background:#a1a1aa;opacity:.35"></i>hidden'
    '<i style="background:#fff;outline:1px solid #888;width:3px"></i>you showed it'
    '<i style="background:#f59e0b"></i>in doubt: click to look. Click anywhere to go to that frame.</p>'
)
HOW_TO = (
    '<p class="s2l-hint"><b>Click</b> on the object. <b>Right-click</b> (or Shift) on what does not belong to it. '
    "<b>Drag</b> a box around it. A brush paints, with the right button it rubs out. "
    "On any frame, also later to correct.</p>"
)
