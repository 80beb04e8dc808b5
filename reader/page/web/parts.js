// The parts of the page that show a report's data: tiles, the table of children, series, closed days, lists.

import { bars, columns } from './chart.js';
import { h } from './dom.js';
import { isNumber, natureOf } from './format.js';
import { inLanguage, isAmount, isRatio, nameOf, seriesOf, titleOf } from './measures.js';

const ENDS_WITH_ID = /(^|_)ids?$/;

/** Return the value of a scalar measure as an element. */
export function valueOf(measure, value, { format, texts }) {
  if (value === null || value === undefined) {
    return h('span', { class: 'none' }, '–');
  }
  if (Array.isArray(value)) {
    return h('span', {}, value.map((one, at) => [at > 0 ? ' · ' : null, valueOf(measure, one, { format, texts })]));
  }
  if (measure.how.startsWith('of ') || ENDS_WITH_ID.test(measure.name)) {
    return plain(value, format, texts); // an id is no amount
  }
  const isNumeric = isAmount(measure) || ['integer', 'number'].includes(measure.type);
  if (isNumeric && isNumber(value)) {
    return h('data', { value }, isRatio(measure) ? format.ratio(value) : format.number(value));
  }
  return plain(value, format, texts);
}

/** Return a value by what it is itself, for rows whose columns no schema describes. */
function plain(value, format, texts) {
  switch (natureOf(value)) {
    case 'none': return h('span', { class: 'none' }, '–');
    case 'instant': return h('time', { datetime: value }, format.instant(value));
    case 'day': return h('time', { datetime: value }, format.day(value));
    case 'boolean': return h('span', {}, texts(value ? 'yes' : 'no'));
    case 'number': return h('data', { value }, Number.isInteger(value) ? String(value) : format.number(value));
    default: return h('span', {}, typeof value === 'object' ? JSON.stringify(value) : value);
  }
}

/** Return the node's own numbers, as a list of titles and values. */
export function tiles(context, { total, own }, hasChildren) {
  const { measures, entry, language, texts } = context;
  return h('dl', { class: 'tiles' }, measures.filter((one) => one.form === 'scalar').map((measure) =>
    h('div', { 'data-key': measure.name }, h('dt', {}, titleOf(entry, measure.name, language)),
      h('dd', {}, valueOf(measure, total[measure.name], context)),
      hasChildren && isAmount(measure) && own?.[measure.name] !== undefined
        && h('dd', { class: 'own' }, texts('own', { value: valueOf(measure, own[measure.name], context).textContent })))));
}

/** Return the documents as a table that its head sorts; `sort` is `{column, isDown}`, with `''` for the name. */
export function nodeTable(context, documents, sort, linkTo) {
  const { measures, entry, language, texts } = context;
  const shown = measures.filter((one) => one.form === 'scalar');
  const heads = [['', texts('name')], ...shown.map(({ name }) => [name, titleOf(entry, name, language)])];
  const rows = sorted(context, documents, shown, sort).map(({ data: { node, total } }) =>
    h('tr', { 'data-key': `node ${node.id}` },
      h('th', { scope: 'row' }, h('a', { href: linkTo(node.id) }, nameOf(node, language))),
      shown.map((one) => h('td', { class: isAmount(one) ? 'number' : null }, valueOf(one, total[one.name], context)))));
  return scrolling(texts('children'), h('table', { id: 'children' },
    h('caption', { class: 'unseen' }, texts('sort_hint')),
    h('thead', {}, h('tr', {}, heads.map(([column, title], at) => head(column, title, sort, at > 0 && isAmount(shown[at - 1]))))),
    h('tbody', {}, rows)));
}

function head(column, title, sort, isAmounts) {
  const direction = sort?.column === column ? (sort.isDown ? 'descending' : 'ascending') : 'none';
  return h('th', { scope: 'col', 'aria-sort': direction, class: isAmounts ? 'number' : null },
    h('button', { type: 'button', 'data-sort': column, 'data-key': `sort ${column}` }, title));
}

function sorted({ format, language }, documents, measures, sort) {
  if (!sort) {
    return documents;
  }
  const measure = measures.find((one) => one.name === sort.column);
  const key = measure ? ({ data }) => data.total[measure.name] : ({ data }) => nameOf(data.node, language);
  const compare = (one, other) => {
    if (one === null || one === undefined || other === null || other === undefined) {
      return 0;
    }
    const areNumbers = isNumber(one) && isNumber(other);
    return areNumbers ? Number(one) - Number(other) : format.compare(String(one), String(other));
  };
  const isNone = (document) => (key(document) ?? null) === null;
  const present = documents.filter((one) => !isNone(one));
  present.sort((one, other) => (sort.isDown ? -1 : 1) * compare(key(one), key(other)));
  return [...present, ...documents.filter(isNone)];
}

/** Return a chart of each series. */
export function series(context, total) {
  const { measures, entry, language, format, texts } = context;
  return measures.filter((one) => one.form === 'series').map((measure) => {
    const title = titleOf(entry, measure.name, language);
    const { areDays, entries } = seriesOf(total[measure.name]);
    const labelled = entries.map(([key, value]) =>
      [areDays ? format.day(key) : inLanguage(entry.titles, language)?.[`${measure.name}.${key}`] ?? key, value]);
    return section(measure.name, title, entries.length === 0
      ? h('p', {}, texts('empty'))
      : areDays ? dayChart(context, measure.name, title, labelled)
        : bars(labelled, { label: title, heads: [title, texts('value')], number: (value) => numberOf(value, format) }));
  });
}

function dayChart(context, name, title, entries) {
  const { format, texts } = context;
  return [columns(entries, { label: title, show: (value) => format.number(value), texts }),
    details(`table ${name}`, texts('as_table'), h('table', { 'aria-label': title },
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, texts('day')), h('th', { scope: 'col', class: 'number' }, texts('value')))),
      h('tbody', {}, entries.map(([day, value]) =>
        h('tr', {}, h('th', { scope: 'row' }, day), h('td', { class: 'number' }, numberOf(value, format)))))))];
}

/** Return the closed days of a node as a small chart for each amount, today at the end, and as one table. */
export function closedDays(context, days, total) {
  const { measures, entry, language, format, texts } = context;
  const amounts = measures.filter((one) => one.form === 'scalar' && isAmount(one));
  const dates = Object.keys(days ?? {}).sort();
  if (dates.length === 0 || amounts.length === 0) {
    return null;
  }
  const figures = amounts.map((measure) => {
    const title = titleOf(entry, measure.name, language);
    const show = (value) => (value === null ? '–' : isRatio(measure) ? format.ratio(value) : format.number(value));
    const entries = dates.map((date) => [format.day(date), days[date].data.total[measure.name] ?? null, false]);
    return h('figure', { 'data-key': measure.name }, h('figcaption', {}, title),
      columns([...entries, [texts('today'), total[measure.name], true]], { label: title, show, texts }));
  });
  const rows = dates.toReversed().map((date) => h('tr', { 'data-key': date }, h('th', { scope: 'row' }, format.day(date)),
    amounts.map((one) => h('td', { class: 'number' }, valueOf(one, days[date].data.total[one.name], context)))));
  return section('closed_days', texts('closed_days'), h('div', { class: 'figures' }, figures),
    details('table closed days', texts('as_table'), scrolling(texts('closed_days'), h('table', { id: 'days' },
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, texts('day')),
        amounts.map((one) => h('th', { scope: 'col', class: 'number' }, titleOf(entry, one.name, language))))),
      h('tbody', {}, rows)))));
}

/** Return a table of each list. */
export function lists(context, total) {
  const { measures, entry, language, format, texts } = context;
  return measures.filter((one) => one.form === 'list').map((measure) => {
    const title = titleOf(entry, measure.name, language);
    const rows = total[measure.name] ?? [];
    const keys = [...new Set(rows.flatMap(Object.keys))];
    return section(measure.name, title, rows.length === 0 ? h('p', {}, texts('empty')) : scrolling(title,
      h('table', {}, h('thead', {}, h('tr', {}, keys.map((key) =>
        h('th', { scope: 'col' }, titleOf(entry, `${measure.name}.${key}`, language))))),
      h('tbody', {}, rows.map((row) => h('tr', {}, keys.map((key) => h('td', {}, plain(row[key], format, texts)))))))));
  });
}

/** Return a section with its heading. */
export function section(key, title, ...content) {
  return h('section', { 'data-key': `section ${key}`, 'aria-label': title }, h('h2', {}, title), ...content);
}

function scrolling(label, table) {
  return h('div', { class: 'wide', role: 'region', 'aria-label': label, tabindex: 0 }, table);
}

function details(key, summary, content) {
  return h('details', { 'data-key': key }, h('summary', {}, summary), content);
}

function numberOf(value, format) {
  return h('data', { value }, format.number(value));
}
