// What a report's measures are, read from its declaration: no report is known here by name.
//
//     scalar   one value: a tile, and a column of the table
//     series   `sums`: a chart, of days if all keys are dates
//     list     `top ...`: a table of rows

const DATE = /^\d{4}-\d{2}-\d{2}$/;

/** Return the measures of a report, in its order, as `{name, form, how, type}`. */
export function measuresOf(entry) {
  const schemas = entry.schema?.properties?.total?.properties ?? {};
  const declared = Object.keys(entry.measures ?? schemas);
  return declared.map((name) => measure(name, entry.measures?.[name] ?? '', schemas[name] ?? {}));
}

function measure(name, how, schema) {
  const type = [schema.type ?? []].flat().find((one) => one !== 'null') ?? '';
  const form = how === 'sums' || type === 'object' ? 'series' : how.startsWith('top ') ? 'list' : 'scalar';
  return { name, form, how, type };
}

/** Return true if values of the measure can be added, compared and drawn as amounts. */
export function isAmount({ how, type }) {
  return how === 'sum' || how === 'distinct' || isRatio({ how })
    || (['min', 'max', 'sql'].includes(how) && ['integer', 'number'].includes(type));
}

/** Return true if the measure is a ratio or an average, which no amount of digits makes exact. */
export function isRatio({ how }) {
  return how.includes(' / ') || how.startsWith('avg by ');
}

/** Return the title of a measure, of one of its parts (`oldest.id`), or of the report (`report`). */
export function titleOf(entry, key, language) {
  return inLanguage(entry.titles, language)?.[key] ?? (key === 'report' ? entry.title : humanized(key.split('.').pop()));
}

/** Return what an object by language has for one, or for a region of it. */
export function inLanguage(texts, language) {
  const found = Object.keys(texts ?? {}).find((one) => one === language || one.startsWith(`${language}-`));
  return found && texts[found];
}

function humanized(name) {
  const words = name.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Return the entries of a series; of days all from the first to the last, those without a value as 0. */
export function seriesOf(value) {
  const entries = Object.entries(value ?? {});
  const areDays = entries.length > 0 && entries.every(([key]) => DATE.test(key));
  return areDays ? { areDays, entries: everyDay(entries) } : { areDays, entries };
}

function everyDay(entries) {
  const known = new Map(entries);
  const days = [...known.keys()].sort();
  const filled = [];
  for (let day = days[0]; day <= days.at(-1) && filled.length < 400; day = after(day)) {
    filled.push([day, known.get(day) ?? 0]);
  }
  return filled;
}

function after(day) {
  return new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString().slice(0, 10);
}

/** Return the name of a node in a language, if the tree declares several, else its name, or its kind and id. */
export function nameOf({ id, kind, name, names }, language) {
  return inLanguage(names, language) || name || `${kind ?? ''} ${id}`.trim();
}
