// Charts as small SVG. Text stands beside them as HTML, in the size that the user reads; each bar has a title.

import { h, svg } from './dom.js';

/** Return bars in time, `entries` of `[label, value, isNow]`; `show` formats a value. */
export function columns(entries, { label, show, texts }) {
  const highest = Math.max(0, ...entries.map(([, value]) => Number(value)));
  const bars = entries.map(([name, value, isNow], at) => {
    const height = highest > 0 ? 100 * Math.max(0, Number(value)) / highest : 0;
    const place = { x: at + 0.1, width: 0.8, y: 100 - height, height, class: isNow ? 'now' : null };
    return svg('g', {}, svg('title', {}, `${name}: ${show(value)}`),
      svg('rect', { x: at, width: 1, y: 0, height: 100, class: 'room' }), svg('rect', place));
  });
  const described = `${label}. ${entries[0][0]} – ${entries.at(-1)[0]}. ${texts('highest', { value: show(peak(entries)) })}`;
  return h('div', { class: 'chart' },
    h('div', { class: 'scale' }, texts('highest', { value: show(peak(entries)) })),
    svg('svg', { viewBox: `0 0 ${entries.length} 100`, preserveAspectRatio: 'none', role: 'img', 'aria-label': described },
      bars),
    h('div', { class: 'ends' }, h('span', {}, entries[0][0]), h('span', {}, entries.at(-1)[0])));
}

function peak(entries) {
  return entries.reduce((most, [, value]) => (Number(value) > Number(most) ? value : most), entries[0][1]);
}

/** Return a table of amounts with a bar beside each. */
export function bars(entries, { label, heads, number }) {
  const highest = Math.max(0, ...entries.map(([, value]) => Number(value)));
  const rows = entries.map(([name, value]) => {
    const width = highest > 0 ? 100 * Math.max(0, Number(value)) / highest : 0;
    return h('tr', { 'data-key': name }, h('th', { scope: 'row' }, name || '–'), h('td', { class: 'number' }, number(value)),
      h('td', { class: 'bar', 'aria-hidden': 'true' },
        svg('svg', { viewBox: '0 0 100 1', preserveAspectRatio: 'none' }, svg('rect', { width, height: 1 }))));
  });
  return h('table', { class: 'bars', 'aria-label': label },
    h('thead', { class: 'unseen' }, h('tr', {}, heads.map((head) => h('th', { scope: 'col' }, head)))),
    h('tbody', {}, rows));
}
