/** Light or dark: the system's choice unless the reader made another. */

import { useSyncExternalStore } from "react";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const CHOSEN = "phi-chat-theme";
const DARK = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

export function theme(): Theme {
  const stored = localStorage.getItem(CHOSEN);
  return THEMES.find((each) => each === stored) ?? "system";
}

export function chooseTheme(chosen: Theme): void {
  if (chosen === "system") localStorage.removeItem(CHOSEN);
  else localStorage.setItem(CHOSEN, chosen);
  showTheme();
}

export function showTheme(): void {
  document.documentElement.dataset.theme = theme();
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  DARK.addEventListener("change", listener);
  return () => {
    listeners.delete(listener);
    DARK.removeEventListener("change", listener);
  };
}

export const useTheme = (): Theme => useSyncExternalStore(subscribe, theme);

export const useIsDark = (): boolean =>
  useSyncExternalStore(subscribe, () => theme() === "dark" || (theme() === "system" && DARK.matches));
