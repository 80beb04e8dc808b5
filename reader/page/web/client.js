// Requests to the reader. The token, if there is one, is kept in this object's memory alone.

import { Digits } from './format.js';

const REQUEST_MS = 10_000;

/** A refusal of the reader, or that it cannot be reached (`unreachable`); `retryMs` says when to ask again. */
export class Refusal extends Error {
  constructor(kind, { detail = '', retryMs = 5000, problem = {} } = {}) {
    super(detail || kind);
    this.kind = kind;
    this.detail = detail;
    this.retryMs = retryMs;
    this.problem = problem;
  }
}

export class Client {
  #token = '';

  get hasToken() {
    return this.#token !== '';
  }

  /** Use a session's token for all further requests; an empty text forgets it. */
  use(token) {
    this.#token = token;
  }

  /** Return the response to a request for a stream of hints. */
  async stream(report, signal) {
    return fetch(`v1/events?report=${encodeURIComponent(report)}`, this.#options({ signal }));
  }

  /** Return `{headers, body}`, with a null body if `etag` is still that of the data. Throws a Refusal. */
  async get(path, etag = '') {
    const response = await this.#fetch(path, etag ? { 'If-None-Match': etag } : {});
    if (response.status === 304) {
      return { headers: response.headers, body: null };
    }
    const text = await textOf(response);
    if (!response.ok) {
      throw refusal(response, text);
    }
    return { headers: response.headers, body: parse(text) };
  }

  async #fetch(path, headers) {
    try {
      return await fetch(path, this.#options({ headers, signal: AbortSignal.timeout(REQUEST_MS) }));
    } catch {
      throw new Refusal('unreachable');
    }
  }

  #options({ headers = {}, signal }) {
    const credentials = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
    return { cache: 'no-store', signal, headers: { ...headers, ...credentials } };
  }
}

async function textOf(response) {
  try {
    return await response.text();
  } catch {
    throw new Refusal('unreachable');
  }
}

function refusal(response, text) {
  const retryMs = 1000 * (Number(response.headers.get('Retry-After')) || 5);
  try {
    const problem = JSON.parse(text);
    return new Refusal(problem.type.split(':').pop(), { detail: problem.detail, retryMs, problem });
  } catch {
    return new Refusal('unreachable', { detail: `HTTP ${response.status}`, retryMs }); // a proxy's own page
  }
}

/**
 * Return the value of JSON. A number that a JavaScript number would change, by a digit or a closing zero, has all its
 * digits: a whole one, which may be an id, as text, another as `Digits`.
 */
export function parse(text) {
  return JSON.parse(text, (_key, value, context) => {
    const source = context?.source;
    if (typeof value !== 'number' || source === undefined || String(value) === source) {
      return value;
    }
    return /^-?\d+$/.test(source) ? source : new Digits(source);
  });
}
