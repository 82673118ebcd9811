// Elements, buttons and times.

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

export function button(text, action, properties = {}) {
  const made = element("button", { type: "button", ...properties }, text);
  made.addEventListener("click", action);
  return made;
}

export function press(id, on) {
  $(id).setAttribute("aria-pressed", Boolean(on));
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
