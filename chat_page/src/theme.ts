/** Light or dark: the system's choice unless the reader made another. */

import { useSyncExternalStore } from "react";
import { remember, remembered } from "./remembered";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const CHOSEN = "phi-chat-theme";
const DARK = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

let chosenTheme: Theme = THEMES.find((each) => each === remembered(CHOSEN)) ?? "system";

export const theme = (): Theme => chosenTheme;

export function chooseTheme(chosen: Theme): void {
  chosenTheme = chosen;
  remember(CHOSEN, chosen === "system" ? null : chosen);
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
