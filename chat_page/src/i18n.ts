/** Texts in the reader's language. A language is one file in locales/ and a line in locales/index.json. */

import { useSyncExternalStore } from "react";
import english from "../locales/en.json";
import { remember, remembered } from "./remembered";

type Key = keyof typeof english.texts;
type Locale = { language: string; dir: string; texts: Record<string, string> };

const CHOSEN = "phi-chat-language";

let locale: Locale = english;
let names: Record<string, string> = { en: "English" };
let version = 0;
const listeners = new Set<() => void>();

export const language = (): string => locale.language;
export const languages = (): [string, string][] => Object.entries(names);

/** The text of a key; English where the language lacks it. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const text = locale.texts[key] ?? english.texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

export const has = (key: string): key is Key => key in english.texts;

/** Loads the languages' names, then the one that was chosen here, or that the browser prefers. */
export async function loadLanguage(): Promise<void> {
  try {
    names = await (await fetch("/locales/index.json")).json();
    const wanted = [remembered(CHOSEN) ?? "", ...navigator.languages].flatMap((tag) => [tag, tag.split("-")[0] ?? ""]);
    await use(wanted.find((tag) => tag in names) ?? "en");
  } catch {
    // English is in the bundle.
    show(english);
  }
}

export async function chooseLanguage(tag: string): Promise<void> {
  await use(tag);
  remember(CHOSEN, tag);
}

async function use(tag: string): Promise<void> {
  if (tag === "en") return show(english);
  const response = await fetch(`/locales/${encodeURIComponent(tag)}.json`);
  if (!response.ok) throw new Error(`no locale ${tag}`);
  show((await response.json()) as Locale);
}

function show(next: Locale): void {
  locale = next;
  version += 1;
  document.documentElement.lang = next.language;
  document.documentElement.dir = next.dir;
  for (const listener of listeners) listener();
}

/** Draws the component again when the language changes. */
export function useLanguage(): number {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => version,
  );
}

export function date(iso: string): string {
  return new Intl.DateTimeFormat(locale.language, { dateStyle: "medium" }).format(new Date(iso));
}

export function dateTime(iso: string): string {
  return new Intl.DateTimeFormat(locale.language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
}

export const number = (value: number, options: Intl.NumberFormatOptions = {}): string =>
  new Intl.NumberFormat(locale.language, options).format(value);
