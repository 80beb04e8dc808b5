// The whole page as a tree of elements, from the state of main.js. It asks nothing and changes nothing.

import { h } from './dom.js';
import { stateOf } from './freshness.js';
import { measuresOf, nameOf, titleOf } from './measures.js';
import { closedDays, lists, nodeTable, series, tiles } from './parts.js';
import { LANGUAGES } from './texts.js';

const TOLD = ['not-found', 'gone', 'warming', 'unreachable', 'redis-unreachable'];

/** Return the address of a view in the page's fragment. */
export function address(report, scope = '') {
  return `#/${[report, scope].filter((one) => one !== '').map((one) => encodeURIComponent(one)).join('/')}`;
}

/** Return the page. */
export function page(state) {
  const { texts } = state;
  return h('div', { id: 'page' },
    h('a', { class: 'skip', href: '#main', 'data-skip': true }, texts('skip')),
    h('header', {}, reportLinks(state),
      h('div', { class: 'tools' },
        state.hasToken && h('button', { type: 'button', 'data-forget': true }, texts('forget')),
        languages(state))),
    h('main', { id: 'main', tabindex: -1, 'aria-busy': state.isBusy ? 'true' : 'false' }, content(state)));
}

function reportLinks({ catalogue, report, scope, language, texts }) {
  return h('nav', { 'aria-label': texts('reports') }, h('ul', {}, (catalogue?.reports ?? []).map((entry) =>
    h('li', { 'data-key': entry.name },
      h('a', { href: address(entry.name, scope), 'aria-current': entry.name === report ? 'page' : null },
        titleOf(entry, 'report', language))))));
}

function languages({ language, texts }) {
  return h('div', { role: 'group', 'aria-label': texts('language') }, Object.entries(LANGUAGES).map(([code, name]) =>
    h('button', { type: 'button', lang: code, 'data-language': code, 'aria-pressed': code === language ? 'true' : 'false' },
      name)));
}

function content(state) {
  const { catalogue, failure, shown, texts } = state;
  if (failure?.kind === 'unauthorised') {
    return logIn(state);
  }
  if (catalogue && (catalogue.reports.length === 0 || catalogue.roots.length === 0)) {
    return [h('h1', { tabindex: -1 }, texts('reports')), h('p', { class: 'note' }, texts('no_reports'))];
  }
  if (shown) {
    return report(state);
  }
  if (failure) {
    return [h('h1', { tabindex: -1 }, texts('reports')), failureNote(state), waysOut(state)];
  }
  return h('p', {}, texts('loading'));
}

function logIn({ texts, isTokenRefused }) {
  return [h('h1', { tabindex: -1 }, texts('log_in')),
    h('p', {}, texts('log_in_why')),
    isTokenRefused && h('p', { class: 'note bad', id: 'refused' }, texts('log_in_again')),
    h('form', { id: 'login' },
      h('label', { for: 'token' }, texts('token')),
      h('input', {
        id: 'token', type: 'password', autocomplete: 'off', spellcheck: 'false', required: true,
        'aria-describedby': isTokenRefused ? 'refused' : null,
      }),
      h('button', { type: 'submit' }, texts('use_token')))];
}

function report(state) {
  const { shown, language, texts } = state;
  const { self, isExpired } = shownParts(state);
  const title = self ? nameOf(self.data.node, language) : texts('yours');
  return [above(state),
    h('h1', { tabindex: -1, 'data-key': `title ${shown.scope}` }, title, self?.data.node.kind && h('small', {}, self.data.node.kind)),
    freshness(state),
    state.failure && failureNote(state),
    isExpired ? null : numbers(state)];
}

function numbers(state) {
  const { shown, texts } = state;
  const { self, children } = shownParts(state);
  const context = { ...state, entry: shown.entry, measures: measuresOf(shown.entry) };
  const missing = shown.absent.length;
  return [
    self && h('section', { 'data-key': 'numbers', 'aria-label': texts('numbers') },
      tiles(context, self.data, self.data.node.children.length > 0)),
    self && series(context, self.data.total),
    h('section', { 'data-key': 'children', 'aria-label': texts('children') },
      h('h2', {}, self ? `${texts('children')} (${state.format.number(children.length + shown.left_out.length)})` : texts('yours')),
      children.length > 0
        ? nodeTable(context, children, state.sort, (id) => address(shown.report, id))
        : h('p', {}, texts('no_children')),
      shown.left_out.length > 0
        && h('button', { type: 'button', 'data-more': true }, texts('more', { count: Math.min(200, shown.left_out.length) })),
      missing > 0 && h('p', { class: 'note' }, texts('absent', { count: missing }))),
    self && lists(context, self.data.total),
    self && closedDays(context, shown.days, self.data.total),
  ];
}

function shownParts({ shown }) {
  const self = shown.scope === '' ? null : shown.documents[0];
  return { self, children: self ? shown.documents.slice(1) : shown.documents, isExpired: stateOf(shown.times).name === 'expired' };
}

function above({ shown, catalogue, language, texts }) {
  const steps = shown.path.map((node) => [node.id, nameOf(node, language)]);
  if (shown.scope !== '' && catalogue.roots.length > 1) {
    steps.unshift(['', texts('yours')]);
  }
  const current = shown.scope === '' ? texts('yours') : nameOf(shown.documents[0].data.node, language);
  return h('nav', { 'aria-label': texts('above'), class: 'above' }, h('ol', {},
    steps.map(([id, name]) => h('li', { 'data-key': `above ${id}` }, h('a', { href: address(shown.report, id) }, name))),
    h('li', { 'data-key': `above ${shown.scope}` }, h('a', { href: address(shown.report, shown.scope), 'aria-current': 'page' }, current))));
}

/** Return the line that says how old the numbers are. */
export function freshness(state) {
  const { shown, format, texts } = state;
  const { name, age } = stateOf(shown.times);
  return h('p', { id: 'freshness', class: `note ${name}`, 'data-state': name },
    h('span', {}, freshnessWords(state)),
    name !== 'expired' && shown.times.asOf
      && h('time', { datetime: shown.times.asOf, 'data-age': Math.floor(age) }, texts('as_of', { clock: format.clock(shown.times.asOf) })));
}

/** Return the sentences about the age of the numbers. */
export function freshnessWords({ shown, format, texts }) {
  const { name, age } = stateOf(shown.times);
  const { soft, isInDoubt } = shown.times;
  const said = [texts(name, { ago: format.ago(age) })];
  if (name === 'stale' && soft > 0 && age > soft && !isInDoubt) {
    said.push(texts('stale_soft', { soft: format.duration(soft) }));
  }
  if (isInDoubt) {
    said.push(texts('doubt'));
  }
  return said.join(' ');
}

/** Return the sentence about what went wrong. */
export function failureWords({ failure, format, texts }) {
  const { kind, problem, detail } = failure;
  if (kind === 'too-stale') {
    return texts('expired', { ago: format.ago(problem.age) });
  }
  return TOLD.includes(kind) ? texts(kind) : texts('other', { detail: detail || kind });
}

function failureNote(state) {
  const { failure, texts } = state;
  const error = failure.problem.last_error?.error;
  const isExpired = failure.kind === 'too-stale';
  return h('div', { id: 'failure', class: 'note bad', 'data-problem': failure.kind, 'data-state': isExpired ? 'expired' : null },
    h('p', {}, failureWords(state)),
    error && h('p', {}, texts('last_error', { error })));
}

function waysOut({ report: name, catalogue, texts, language, lastPath }) {
  const nearest = lastPath?.at(-1);
  return h('p', {}, nearest
    ? h('a', { href: address(name, nearest.id) }, texts('go_up', { name: nameOf(nearest, language) }))
    : catalogue && h('a', { href: address(catalogue.reports[0].name) }, texts('start')));
}
