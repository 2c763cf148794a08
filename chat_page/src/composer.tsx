/** Where a message is written, who answers it, and the line that says that an AI answers. */

import { ArrowDown, ArrowUp, Square } from "lucide-react";
import { useEffect } from "react";
import { ComposerInput, ComposerRoot, ComposerSend, ToBottom, useComposerText, useDraft } from "./assistant";
import { COMPOSER, focusComposer, Icon } from "./controls";
import { number, t } from "./i18n";
import { store, useChat, type Choice } from "./store";

export function Composer() {
  const thread = useChat((state) => state.thread.id);
  const running = useChat((state) => state.running.has(state.thread.id));
  const limit = useChat((state) => state.me?.limits.question_bytes ?? 65536);
  const text = useComposerText();
  useDraft(thread);
  useEscape(running);
  const size = text.length * 3 > limit ? new TextEncoder().encode(text).length : 0;
  const tooLong = size > limit;
  return (
    <div className="foot">
      <div className="column">
        <ToBottom className="to-bottom icon-button" aria-label={t("composer.to_bottom")} title={t("composer.to_bottom")}>
          <Icon of={ArrowDown} />
        </ToBottom>
        <ComposerRoot className="composer" onSubmit={(event) => tooLong && event.preventDefault()}>
          <label htmlFor={COMPOSER} className="sr-only">{t("composer.label")}</label>
          <ComposerInput id={COMPOSER} rows={1} maxRows={10} dir="auto" autoFocus autoComplete="off" placeholder={t("composer.placeholder")} aria-describedby="composer-hint" cancelOnEscape={false} />
          <div className="composer-foot">
            <ModelChoice />
            <span id="composer-hint" className="hint">{t("composer.hint")}</span>
            {running ? <StopButton /> : (
              <ComposerSend className="send" aria-label={t("composer.send")} title={t("composer.send")} disabled={tooLong || !text.trim()}>
                <Icon of={ArrowUp} size={20} />
              </ComposerSend>
            )}
          </div>
          <CompareNote />
          {tooLong && <p className="composer-error" role="alert">{t("composer.too_long", { size: number(size), limit: number(limit) })}</p>}
        </ComposerRoot>
        <p className="disclaimer">{t("app.disclaimer")}</p>
      </div>
    </div>
  );
}

function StopButton() {
  const stopping = useChat(({ thread }) => [...thread.tree.values()].some(({ phase }) => phase === "stopping"));
  const label = t(stopping ? "composer.stopping" : "composer.stop");
  return (
    <button type="button" className="send stop" aria-label={label} title={label} disabled={stopping} onClick={() => {
      focusComposer();
      store.answers.stop();
    }}>
      <Icon of={Square} size={16} />
    </button>
  );
}

/** Escape stops, unless it closes a dialog or ends an edit. */
function useEscape(running: boolean): void {
  useEffect(() => {
    if (!running) return;
    const pressed = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.isComposing || event.defaultPrevented) return;
      if (document.querySelector("dialog[open]") || (event.target as Element).closest?.(".edit")) return;
      store.answers.stop();
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, [running]);
}

function ModelChoice() {
  const me = useChat((state) => state.me);
  const choice = useChat((state) => state.choice);
  if (!me || me.models.length < 2) return null;
  const models = me.models.map(({ id, available }) => ({ id: id as Choice, label: t(`model.${id}`), available }));
  const offered = me.compare ? [...models, { id: "compare" as const, label: t("model.compare"), available: models.every((model) => model.available) }] : models;
  return (
    <fieldset className="choice">
      <legend className="sr-only">{t("model.choose")}</legend>
      {offered.map(({ id, label, available }) => (
        <label key={id} className={choice === id ? "chosen" : ""}>
          <input type="radio" name="choice" value={id} checked={choice === id} disabled={!available} onChange={() => store.choose(id)} />
          {label}
        </label>
      ))}
    </fieldset>
  );
}

function CompareNote() {
  const note = useChat(({ me, choice }) => (choice === "compare" ? (me?.compare_note ?? "") : null));
  return note === null ? null : <p className="choice-note" dir="auto">{note || t("model.compare_note")}</p>;
}
