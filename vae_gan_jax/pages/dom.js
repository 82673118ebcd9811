// Elements, buttons, keys, dropped files, messages and times.

export const $ = (id) => document.getElementById(id);

// A new element with properties, attributes (names with a dash, and role) and children.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (/-|^role$|^for$|^list$/.test(name)) made.setAttribute(name, value);
    else made[name] = value;
  made.append(...children);
  return made;
}

export function button(content, action, properties = {}) {
  const made = element("button", { type: "button", ...properties }, content);
  made.addEventListener("click", action);
  return made;
}

export function press(id, on) {
  $(id).setAttribute("aria-pressed", Boolean(on));
}

export function say(text) {
  $("message").textContent = text;
}

// Does something that may fail; the page goes on and says why.
export async function attempt(action) {
  try {
    await action();
    say("");
  } catch (error) {
    say(error.message);
  }
}

// Clicks and keys start the actions, which have the names of their buttons. `otherKey(key)` is given
// the keys without a button.
export function connectButtons(actions, otherKey = () => {}) {
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", () => action());
  addEventListener("keydown", ({ key, target, ctrlKey, metaKey, altKey, repeat }) => {
    if (ctrlKey || metaKey || altKey || repeat || target.closest("select, textarea, input:not([type=range], [type=checkbox])")) return;
    if (key === "?") $("help").open = !$("help").open;
    const named = document.querySelector(`[aria-keyshortcuts="${CSS.escape(key.toLowerCase())}"]`);
    if (!named) otherKey(key);
    else if (!named.closest("[hidden]")) named.click();
  });
}

// Gives a file that is dropped on the page to `open`.
export function acceptDrops(open) {
  for (const type of ["dragenter", "dragover", "dragleave", "drop"])
    addEventListener(type, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", type === "dragenter" || type === "dragover");
      if (type === "drop" && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
    });
}

export function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("stage").requestFullscreen?.();
}

export function clock(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// Tab reaches one of the buttons in a container, arrow keys, Home and End move among them.
export function moveByArrows(container, buttons) {
  buttons.forEach((made, index) => (made.tabIndex = index ? -1 : 0));
  container.addEventListener("keydown", (event) => {
    const index = buttons.indexOf(document.activeElement);
    const targets = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: buttons.length - 1 };
    const target = buttons[targets[event.key]];
    if (index < 0 || !target) return;
    event.preventDefault();
    buttons.forEach((made) => (made.tabIndex = made === target ? 0 : -1));
    target.focus();
  });
}
