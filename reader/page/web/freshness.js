// How old the numbers are, while they stay on the screen.
//
// The reader states the age, how long the data is fresh and how long it may be used (docs/reader.md); from then on the
// page counts on by itself. It takes the larger of two clocks, because one stands still while the computer sleeps and
// the other can be set. So the page stops showing numbers at their hard limit even if nothing can be asked.

/** Return the times of a response, for `stateOf`. */
export function timesOf(headers) {
  const control = headers.get('Cache-Control') ?? '';
  const status = headers.get('Cache-Status') ?? '';
  const age = Number(headers.get('Age') ?? 0);
  const ttl = numberIn(/ttl=(-?\d+)/, status);
  return {
    asOf: headers.get('As-Of'),
    age,
    isFresh: headers.get('Freshness') === 'fresh',
    isInDoubt: status.includes('clocks-apart'),
    freshFor: ttl ?? 0,
    soft: ttl === null ? null : Math.max(0, age + ttl),
    hard: (numberIn(/max-age=(\d+)/, control) ?? 0) + (numberIn(/stale-while-revalidate=(\d+)/, control) ?? 0),
    ticks: performance.now(),
    clock: Date.now(),
  };
}

/** Return `{name, age}`: `fresh`, `stale` or `expired`, and the age in seconds. */
export function stateOf(times) {
  const elapsed = Math.max(performance.now() - times.ticks, Date.now() - times.clock) / 1000;
  const age = times.age + elapsed;
  if (age > times.hard) {
    return { name: 'expired', age };
  }
  return { name: times.isFresh && elapsed <= times.freshFor ? 'fresh' : 'stale', age };
}

function numberIn(pattern, text) {
  const found = pattern.exec(text);
  return found && Number(found[1]);
}
