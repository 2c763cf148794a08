/** The page: a list of conversations, the open one, and where the next message is written. */

import { Menu, Moon, Sun } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { ChatRuntime, Messages, useSetText } from "./assistant";
import { Composer } from "./composer";
import { COMPOSER, FaultLine, focusComposer, IconButton } from "./controls";
import { date, t, useLanguage } from "./i18n";
import { visible } from "./markdown";
import { drawMessage } from "./messages";
import { SettingsDialog } from "./settings";
import { Sidebar, titleOf } from "./sidebar";
import { store, useChat } from "./store";
import { chooseTheme, useIsDark } from "./theme";

const NARROW = matchMedia("(max-width: 52rem)");

export function App() {
  useLanguage();
  const narrow = useMedia(NARROW);
  const [drawer, setDrawer] = useState(false);
  const [settings, setSettings] = useState(false);
  const thread = useChat((state) => state.thread.id);
  const meFault = useChat((state) => state.meFault);
  const name = useModelName();
  useTitle();
  useEffect(() => setDrawer(false), [narrow, thread]);
  return (
    <>
      <a className="skip" href={`#${COMPOSER}`} onClick={(event) => {
        event.preventDefault();
        focusComposer();
      }}>{t("app.skip")}</a>
      <h1 className="sr-only">{t("app.heading", { model: name })}</h1>
      {!narrow && <div className="side"><Sidebar onLeave={focusComposer} onSettings={() => setSettings(true)} /></div>}
      {narrow && drawer && <Drawer onClose={() => setDrawer(false)} onSettings={() => setSettings(true)} />}
      <main>
        <Header onMenu={narrow ? () => setDrawer(true) : null} />
        {meFault && <FaultLine fault={meFault} onAction={() => void store.readMe()} />}
        <Notice />
        <ChatRuntime key={thread}>
          <Messages draw={drawMessage}>
            <Empty />
            <Composer />
          </Messages>
        </ChatRuntime>
      </main>
      {settings && <SettingsDialog onClose={() => setSettings(false)} />}
      <Said />
    </>
  );
}

function useModelName(): string {
  return useChat(({ me }) => me?.models[0]?.name ?? "");
}

function useTitle(): void {
  const conversation = useChat((state) => state.thread.conversation);
  const name = useModelName();
  useEffect(() => {
    document.title = [conversation && titleOf(conversation), name || t("app.title")].filter(Boolean).join(" – ");
  });
}

function useMedia(query: MediaQueryList): boolean {
  const [matches, setMatches] = useState(query.matches);
  useEffect(() => {
    const changed = () => setMatches(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, [query]);
  return matches;
}

function Drawer({ onClose, onSettings }: { onClose: () => void; onSettings: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} className="drawer" aria-label={t("list.title")} onClose={(event) => event.target === dialog.current && onClose()} onMouseDown={(event) => event.target === dialog.current && onClose()}>
      <div className="side">
        <Sidebar onLeave={onClose} onSettings={() => {
          onClose();
          onSettings();
        }} />
      </div>
    </dialog>
  );
}

function Header({ onMenu }: { onMenu: (() => void) | null }) {
  const conversation = useChat((state) => state.thread.conversation);
  return (
    <header className="head">
      {onMenu && <IconButton icon={Menu} label={t("list.open")} onClick={onMenu} />}
      <div className="head-texts">
        <h2 dir="auto">{conversation ? titleOf(conversation) : t("list.new")}</h2>
        <ModelLine />
      </div>
      <ThemeSwitch />
    </header>
  );
}

/** Who answers the next question. */
function ModelLine() {
  const me = useChat((state) => state.me);
  const choice = useChat((state) => state.choice);
  const models = me?.models.filter(({ id }) => choice === "compare" || id === choice) ?? [];
  const missing = models.find(({ available }) => !available);
  if (missing) return <p className="model-line" role="status">{missing.why_not || t("model.unavailable", { name: missing.name })}</p>;
  if (!models.length) return null;
  return (
    <p className="model-line">
      <span className="live-dot" aria-hidden="true" />
      <span>
        {models.map(({ id, name, version, since }, place) => (
          <span key={id}>
            {place > 0 && " + "}
            <bdi>{`${visible(name)} ${version}`.trim()}</bdi>
            {since && models.length === 1 && <> · <bdi>{t("model.since", { date: date(since) })}</bdi></>}
          </span>
        ))}
      </span>
    </p>
  );
}

function ThemeSwitch() {
  const dark = useIsDark();
  const label = `${t("settings.theme")}: ${t(dark ? "settings.theme.light" : "settings.theme.dark")}`;
  return <IconButton icon={dark ? Sun : Moon} label={label} onClick={() => chooseTheme(dark ? "light" : "dark")} />;
}

/** What stands where no message is: a beginning, or why the conversation cannot be read. */
function Empty() {
  const thread = useChat((state) => state.thread);
  const examples = useChat((state) => state.me?.examples);
  const name = useModelName();
  const setText = useSetText();
  if (thread.fault) {
    const gone = thread.fault.code === "not_found";
    return (
      <div className="empty">
        <FaultLine fault={{ ...thread.fault, text: gone ? "" : thread.fault.text }} action={gone ? t("list.new") : undefined} onAction={() => (gone ? store.openNew() : void store.read(thread.id))} />
      </div>
    );
  }
  if (thread.loading) return <p className="empty note" role="status">{t("app.loading")}</p>;
  if (thread.tree.size) return null;
  return (
    <div className="empty">
      <img src="/icon.svg" alt="" width="56" height="56" />
      <p className="empty-title">{t("empty.title")}</p>
      {name && <p className="note"><bdi>{t("empty.text", { model: name })}</bdi></p>}
      {Boolean(examples?.length) && (
        <ul className="examples" aria-label={t("empty.examples")}>
          {examples?.slice(0, 3).map((example) => (
            <li key={example}>
              <button type="button" dir="auto" onClick={() => {
                setText(example);
                focusComposer();
              }}>{example}</button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Notice() {
  const notice = useChat((state) => state.notice);
  return notice && <FaultLine fault={notice} action={t("common.close")} onAction={() => store.closeNotice()} />;
}

/** For screen readers: that an answer is being written, and the finished one; not each word. */
function Said() {
  const said = useChat((state) => state.said);
  return <div className="sr-only" role="status" aria-live="polite">{said && t(`say.${said.kind}`, { text: said.text })}</div>;
}
