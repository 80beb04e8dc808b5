// The page's state, and what changes it: the address, hints, time, and the user.
//
// One view takes one request: a node with its children, the names above it and its closed days. It is asked again
// when the report has changed (hints.js), and before its numbers become stale, as long as the page can be seen.

import { Client, Refusal } from './client.js';
import { morph } from './dom.js';
import { Format } from './format.js';
import { stateOf, timesOf } from './freshness.js';
import { follow } from './hints.js';
import { preferredLanguage, textsOf } from './texts.js';
import { failureWords, freshness, freshnessWords, page } from './view.js';

const FRESH_MS = 30_000;
const STALE_MS = 5000;
const LONGEST_WAIT_MS = 30_000;
const DAYS = 35;
const AT_ONCE = 200;
const PASSING = ['unreachable', 'redis-unreachable'];

const client = new Client();
const state = {
  catalogue: null,
  report: '',
  scope: '',
  shown: null,
  failure: null,
  sort: null,
  isBusy: true,
  isTokenRefused: false,
  lastPath: null,
};
let more = 0;
let asked = 0;
let underWay = '';
let isAskedAgain = false;
let timer = 0;
let hints = new AbortController();
let followed = '';
let said = '';
let isMoving = false;

function setLanguage(language) {
  Object.assign(state, { language, texts: textsOf(language), format: new Format(language) });
  document.documentElement.lang = language;
}

function draw() {
  state.hasToken = client.hasToken;
  morph(document.getElementById('page'), page(state));
  const title = document.querySelector('h1')?.firstChild?.data ?? '';
  document.title = [title, 'Momentus'].filter(Boolean).join(' – ');
  if (isMoving && !state.isBusy) {
    isMoving = false;
    document.querySelector('h1')?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

/** Say a sentence to those who do not see the page; once, until another is said. */
function announce(sentence) {
  if (sentence !== said) {
    said = sentence;
    document.getElementById('announcement').textContent = sentence;
  }
}

// Requests

/** Ask for the view; while it is being asked for, once more afterwards. A request for another view is dropped. */
async function load() {
  const view = `view ${location.hash}`;
  if (underWay === view) {
    isAskedAgain = true;
    return;
  }
  underWay = view;
  await loadOnce(++asked);
  if (underWay === view) {
    underWay = '';
  }
  if (isAskedAgain && underWay === '') {
    isAskedAgain = false;
    load();
  }
}

async function loadOnce(own) {
  clearTimeout(timer);
  try {
    if (!state.catalogue) {
      const { body } = await client.get('v1/reports');
      if (own !== asked) {
        return;
      }
      state.catalogue = { ...body, roots: body.roots.map(String) };
      readAddress();
    }
    if (state.report !== '' && state.catalogue.roots.length > 0) {
      await loadView(own);
    }
    if (own === asked) {
      Object.assign(state, { failure: null, isTokenRefused: false });
    }
  } catch (error) {
    if (own !== asked) {
      return;
    }
    fail(error instanceof Refusal ? error : new Refusal('other', { detail: String(error) }));
  }
  if (own === asked) {
    state.isBusy = false;
    draw();
    waitForNext();
  }
}

async function loadView(own) {
  const { report, scope, catalogue } = state;
  const entry = catalogue.reports.find((one) => one.name === report);
  if (!entry) {
    throw new Refusal('not-found', { retryMs: LONGEST_WAIT_MS });
  }
  followHints();
  const isSame = state.shown?.report === report && state.shown?.scope === scope;
  const { headers, body } = await client.get(pathOf(entry, scope, catalogue), isSame ? state.shown.etag : '');
  const times = timesOf(headers);
  if (body === null) {
    if (own === asked) {
      state.shown.times = times;
    }
    return;
  }
  if (scope === '') {
    body.left_out.push(...catalogue.roots.slice(AT_ONCE));
  }
  await addMore(report, body, isSame ? more : 0);
  if (own === asked) {
    more = isSame ? more : 0;
    announce(isSame ? state.texts('updated') : '');
    said = '';
    state.lastPath = body.path ?? null;
    state.shown = { ...body, entry, report, scope, times, path: body.path ?? [], etag: headers.get('ETag') };
  }
}

function pathOf(entry, scope, { roots }) {
  const report = `v1/reports/${encodeURIComponent(entry.name)}`;
  if (scope === '') {
    return `${report}?scopes=${roots.slice(0, AT_ONCE).map(encodeURIComponent).join(',')}`;
  }
  const days = Math.min(entry.closed_days ?? 0, DAYS);
  return `${report}/${encodeURIComponent(scope)}/children${days > 0 ? `?days=${days}` : ''}`;
}

/** Add further documents of those that were left out of a response, `times` times. */
async function addMore(report, body, times) {
  for (let time = 0; time < times && body.left_out.length > 0; time += 1) {
    const scopes = body.left_out.slice(0, AT_ONCE);
    const next = await client.get(`v1/reports/${encodeURIComponent(report)}?scopes=${scopes.map(encodeURIComponent).join(',')}`);
    body.documents.push(...next.body.documents);
    body.absent.push(...next.body.absent);
    body.left_out = [...next.body.left_out, ...body.left_out.slice(AT_ONCE)];
  }
}

function fail(refusal) {
  state.failure = refusal;
  if (!PASSING.includes(refusal.kind)) {
    state.shown = null; // no number stays on the screen that may not be shown any more
  }
  if (refusal.kind === 'unauthorised') {
    state.isTokenRefused = client.hasToken;
    client.use('');
    state.catalogue = null;
    followHints();
  }
  announce(refusal.kind === 'unauthorised' ? state.texts('log_in') : failureWords(state));
}

function waitForNext() {
  if (document.hidden || state.failure?.kind === 'unauthorised') {
    return;
  }
  if (state.failure) {
    timer = setTimeout(load, Math.min(state.failure.retryMs, LONGEST_WAIT_MS));
  } else if (state.shown) {
    const { isFresh, freshFor } = state.shown.times;
    timer = setTimeout(load, isFresh ? Math.min(FRESH_MS, 1000 * Math.max(freshFor, 1)) : STALE_MS);
  }
}

/** Follow the report that is looked at; a page that cannot be seen follows none, and keeps no connection busy. */
function followHints() {
  const wanted = state.catalogue && !document.hidden ? state.report : '';
  if (wanted !== followed) {
    hints.abort();
    hints = new AbortController();
    followed = wanted;
    if (wanted) {
      follow(client, wanted, load, hints.signal);
    }
  }
}

// Address

/** Take a token out of the address at once, so that it stays in no history, and keep it in memory. */
function takeToken() {
  const found = /(^#|&)token=([^&]*)/.exec(location.hash);
  if (found) {
    client.use(decode(found[2]));
    history.replaceState(null, '', location.pathname + location.search + location.hash.replace(found[0], ''));
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Take report and node from the address; without them, the first report and the only root. */
function readAddress() {
  const [report = '', scope = ''] = location.hash.startsWith('#/') ? location.hash.slice(2).split('/').map(decode) : [];
  const { reports, roots } = state.catalogue;
  state.report = report || reports[0]?.name || '';
  state.scope = scope || (roots.length === 1 ? roots[0] : '');
}

function move() {
  takeToken();
  Object.assign(state, { isBusy: true, failure: null });
  isMoving = true;
  more = 0;
  if (state.catalogue) {
    readAddress();
  }
  draw();
  load();
}

/** Begin the view again, as somebody else. */
function restart() {
  underWay = '';
  move();
}

// Events

function tick() {
  if (document.hidden || !state.shown) {
    return;
  }
  const line = document.getElementById('freshness');
  const { name } = stateOf(state.shown.times);
  if (line && line.dataset.state === name) {
    morph(line, freshness(state));
    return;
  }
  draw();
  announce(freshnessWords(state));
}

function click(event) {
  const button = event.target.closest('[data-sort], [data-language], [data-forget], [data-more], [data-skip]');
  if (!button) {
    return;
  }
  const { sort, language, forget, more: moreAsked, skip } = button.dataset;
  if (skip !== undefined) {
    event.preventDefault();
    document.getElementById('main').focus();
  } else if (sort !== undefined) {
    sortBy(sort, button.parentElement.classList.contains('number'));
  } else if (language) {
    remember(language);
    setLanguage(language);
    draw();
  } else if (forget !== undefined) {
    client.use('');
    Object.assign(state, { catalogue: null, shown: null });
    restart();
  } else if (moreAsked !== undefined) {
    more += 1;
    state.shown.etag = '';
    load();
  }
}

/** Sort by a column: the largest amounts or the first names first, and the other way round at the next click. */
function sortBy(column, isAmount) {
  const isDown = state.sort?.column === column ? !state.sort.isDown : isAmount;
  state.sort = { column, isDown };
  draw();
}

function submit(event) {
  event.preventDefault();
  const field = document.getElementById('token');
  client.use(field.value.trim());
  field.value = '';
  restart();
}

function see() {
  if (!document.hidden) {
    tick(); // numbers that have expired meanwhile are gone before anything is asked
    load();
  } else {
    clearTimeout(timer);
    followHints();
  }
}

function remember(language) {
  try {
    localStorage.setItem('language', language);
  } catch {
    // a browser that keeps nothing: the choice lasts as long as the page
  }
}

function remembered() {
  try {
    return localStorage.getItem('language');
  } catch {
    return null;
  }
}

setLanguage(preferredLanguage(remembered()));
takeToken();
addEventListener('hashchange', move);
document.addEventListener('click', click);
document.addEventListener('submit', submit);
document.addEventListener('visibilitychange', see);
addEventListener('pageshow', (event) => event.persisted && see());
setInterval(tick, 1000);
draw();
load();
