// Numbers, dates and ages in the words of a locale.

const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}/;
const DATE = /^\d{4}-\d{2}-\d{2}$/;
const UNITS = [['day', 86_400], ['hour', 3600], ['minute', 60], ['second', 1]];

/** Digits of a number with a fraction that a JavaScript number would change; other than a text, it is a number. */
export class Digits extends String {}

export class Format {
  constructor(language) {
    this.locale = navigator.languages.find((one) => one.split('-')[0] === language) ?? language;
    this.#instant = new Intl.DateTimeFormat(this.locale, { dateStyle: 'medium', timeStyle: 'short' });
    this.#clock = new Intl.DateTimeFormat(this.locale, { timeStyle: 'medium' });
    this.#day = new Intl.DateTimeFormat(this.locale, { dateStyle: 'medium', timeZone: 'UTC' });
    this.#relative = new Intl.RelativeTimeFormat(this.locale, { numeric: 'always' });
    this.compare = new Intl.Collator(this.locale, { numeric: true }).compare;
  }

  #instant;
  #clock;
  #day;
  #relative;

  /** Return a number with all its digits; `value` may be the text of one. */
  number(value) {
    const text = String(value);
    const decimals = Math.min(/^-?\d+\.(\d+)$/.exec(text)?.[1].length ?? 0, 100);
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: /e/i.test(text) ? 20 : decimals };
    return new Intl.NumberFormat(this.locale, digits).format(value);
  }

  /** Return a ratio or an average, rounded. */
  ratio(value) {
    const digits = Math.abs(value) < 1 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 2 };
    return new Intl.NumberFormat(this.locale, digits).format(value);
  }

  /** Return a date without a time, as it stands in the data. */
  day(date) {
    return this.#day.format(new Date(`${date}T00:00:00Z`));
  }

  /** Return an instant as date and time of the user's zone. */
  instant(text) {
    return this.#instant.format(new Date(text));
  }

  /** Return the time of day of an instant, in the user's zone. */
  clock(text) {
    return this.#clock.format(new Date(text));
  }

  /** Return "2 minutes ago". */
  ago(seconds) {
    const [unit, size] = unitOf(seconds);
    return this.#relative.format(-Math.floor(seconds / size), unit);
  }

  /** Return "2 minutes". */
  duration(seconds) {
    const [unit, size] = unitOf(seconds);
    const style = { style: 'unit', unit, unitDisplay: 'long', maximumFractionDigits: 1 };
    return new Intl.NumberFormat(this.locale, style).format(seconds / size);
  }
}

function unitOf(seconds) {
  return UNITS.find(([, size]) => seconds >= size) ?? UNITS.at(-1);
}

/** Return what a value is, by itself: `number`, `instant`, `day`, `boolean`, `none` or `text`. */
export function natureOf(value) {
  if (value === null || value === undefined) {
    return 'none';
  }
  if (value instanceof Digits) {
    return 'number';
  }
  if (typeof value !== 'string') {
    return typeof value === 'number' || typeof value === 'boolean' ? typeof value : 'text';
  }
  return INSTANT.test(value) ? 'instant' : DATE.test(value) ? 'day' : 'text';
}

/** Return true for a number, and for a text that is one. */
export function isNumber(value) {
  return typeof value === 'number' || value instanceof Digits || (typeof value === 'string' && NUMBER.test(value));
}
