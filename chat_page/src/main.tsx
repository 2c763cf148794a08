import { createRoot } from "react-dom/client";
import { App } from "./app";
import { loadLanguage } from "./i18n";
import { store } from "./store";
import { showTheme } from "./theme";

showTheme();
const root = document.getElementById("root");
if (root) {
  window.addEventListener("popstate", () => store.openAddress());
  void store.readMe();
  void store.readList();
  store.openAddress();
  void loadLanguage().finally(() => createRoot(root).render(<App />));
}
