// Elements from values, and the smallest change from one tree of elements to the next.
//
// Text becomes text nodes and attributes only: nothing here reads HTML, so a title with a tag in it shows the tag.

const SVG = 'http://www.w3.org/2000/svg';

/** Return an element; attributes that are null or false are left out, and so are such children. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Return an element of SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child);
    }
  }
  return element;
}

/**
 * Change `from` until it equals `to`, and keep the elements that stay: with them the focus, what a user has
 * scrolled, opened or typed. Elements with the same `data-key` are the same, wherever they stand.
 */
export function morph(from, to) {
  const focused = document.activeElement;
  change(from, to);
  if (focused && focused.isConnected && focused !== document.activeElement) {
    focused.focus({ preventScroll: true }); // a moved element loses it
  }
}

function change(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) {
      from.data = to.data;
    }
    return;
  }
  changeAttributes(from, to);
  const keyed = new Map();
  for (const child of from.children) {
    if (child.dataset.key) {
      keyed.set(child.dataset.key, child);
    }
  }
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const known = keyed.get(keyOf(wanted)) ?? place;
    if (known && isSame(known, wanted)) {
      if (known === place) {
        place = place.nextSibling;
      } else {
        from.insertBefore(known, place);
      }
      change(known, wanted);
    } else {
      from.insertBefore(wanted, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function changeAttributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && name !== 'open') { // a user has opened it
      from.removeAttribute(name);
    }
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) {
      from.setAttribute(name, value);
    }
  }
}

function isSame(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function keyOf(node) {
  return node.dataset?.key;
}
