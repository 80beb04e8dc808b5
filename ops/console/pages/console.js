// Live updates: every few seconds the page is loaded again, and its parts marked `data-live` are changed where they
// differ. Elements that stay are not replaced, so scroll, selection and focus stay too. A form that is being filled in
// is left alone. Without this script the same pages reload, or wait to be reloaded.
"use strict";

const every = Number(document.body.dataset.every) * 1000;

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? (node.dataset.key ?? node.id) : "";
}

function isSame(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function isBusy(element) {
  return element.localName === "form" && (element.contains(document.activeElement) || element.querySelector("input:not([type=hidden]):user-invalid"));
}

function changeAttributes(element, next) {
  for (const { name } of [...element.attributes]) {
    if (!next.hasAttribute(name) && !(element.localName === "details" && name === "open")) element.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
}

function change(node, next) {
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.data !== next.data) node.data = next.data;
    return;
  }
  if (isBusy(node)) return;
  changeAttributes(node, next);
  changeChildren(node, next);
}

function changeChildren(element, next) {
  let at = element.firstChild;
  for (const wanted of [...next.childNodes]) {
    let found = at;
    while (found && !isSame(found, wanted)) found = found.nextSibling;
    if (!found) {
      element.insertBefore(document.importNode(wanted, true), at);
      continue;
    }
    if (found !== at) element.insertBefore(found, at);
    else at = at.nextSibling;
    change(found, wanted);
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

async function update() {
  const response = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = page.getElementById(part.id);
    if (next) change(part, next);
  }
  document.documentElement.dataset.away = String(!response.ok);
}

async function keepUpdated() {
  try {
    if (!document.hidden) await update();
  } catch {
    document.documentElement.dataset.away = "true";
  }
  setTimeout(keepUpdated, every);
}

if (document.querySelector("[data-live]")) setTimeout(keepUpdated, every);
