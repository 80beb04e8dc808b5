// Hints that a report has changed: server-sent events, read with `fetch`, because an EventSource sends no token.

const RETRY_MS = 2000;
const LONGEST_RETRY_MS = 30_000;

/**
 * Call `changed` for each hint, until `signal` is aborted; a stream that ends is opened again. Whoever may not follow
 * the report any more is told by the next request for the data.
 */
export async function follow(client, report, changed, signal) {
  let retryMs = RETRY_MS;
  let isAgain = false;
  while (!signal.aborted) {
    try {
      const response = await client.stream(report, signal);
      if (response.ok) {
        retryMs = RETRY_MS;
        if (isAgain) {
          changed(); // a hint may have been missed meanwhile
        }
        isAgain = true;
        await read(response.body, changed, (ms) => { retryMs = ms; });
      } else {
        retryMs = LONGEST_RETRY_MS;
      }
    } catch {
      retryMs = Math.min(2 * retryMs, LONGEST_RETRY_MS);
    }
    await pause(retryMs, signal);
  }
}

async function read(stream, changed, retry) {
  let rest = '';
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const events = (rest + part.value).split('\n\n');
    rest = events.pop();
    for (const event of events) {
      const asked = /^retry: (\d+)$/m.exec(event);
      if (asked) {
        retry(Math.min(Number(asked[1]), LONGEST_RETRY_MS));
      }
      if (/^event: (changed|back)$/m.test(event)) {
        changed();
      }
    }
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
