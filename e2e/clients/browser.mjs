// What the visits to pages have in common: Chromium without traffic of its own, people with a browser each, what a page
// complains of.

import { chromium } from "playwright-core";

export const PATIENCE = 60_000; // ms; only has to be longer than the slowest machine needs
export const DESKTOP = { width: 1400, height: 900 };
export const PHONE = { width: 390, height: 844 };

export function launch(executablePath) {
  return chromium.launch({
    executablePath,
    args: [
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-gpu",
      "--disable-quic",
      "--disable-sync",
      "--no-first-run",
    ],
  });
}

// newContext is a browser for one person: cookies, storage, the same looks on every machine.
export async function newContext(browser, options = {}) {
  const context = await browser.newContext({
    viewport: DESKTOP,
    deviceScaleFactor: 1,
    colorScheme: "light",
    locale: "en-GB",
    reducedMotion: "reduce",
    timezoneId: "UTC",
    ...options,
  });
  context.setDefaultTimeout(PATIENCE);
  return context;
}

// complaintsOf gives a list that fills as the page complains: warnings, errors, exceptions.
export function complaintsOf(page) {
  const list = [];
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && list.push(`${m.type()}: ${m.text()}`));
  page.on("pageerror", (error) => list.push(`exception: ${error.message}`));
  return list;
}

export function check(condition, text) {
  if (!condition) throw new Error(text);
}
