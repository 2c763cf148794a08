/** Questions and answers, with what can be done with each. */

import { ChevronLeft, ChevronRight, CircleHelp, Columns2, Pencil, RefreshCw, ThumbsDown, ThumbsUp } from "lucide-react";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { ComposerCancel, ComposerInput, ComposerRoot, ComposerSend, MessageRoot, useBeginEdit, useIsEditing } from "./assistant";
import { CopyButton, FaultLine, focusComposer, focusNext, IconButton } from "./controls";
import { FeedbackDialog } from "./feedback";
import { date, dateTime, number, t } from "./i18n";
import { Markdown, visible } from "./markdown";
import { store, useChat } from "./store";
import { pair, siblings, type Node } from "./tree";
import { WhyDialog } from "./why";

export const drawMessage = (id: string): ReactNode => <MessageOf id={id} />;

function MessageOf({ id }: { id: string }) {
  const node = useChat((state) => state.thread.tree.get(id));
  if (!node) return null;
  return <MessageRoot className={`message ${node.role}`}>{node.role === "user" ? <Question node={node} /> : <Turn node={node} />}</MessageRoot>;
}

function Question({ node }: { node: Node }) {
  const editing = useIsEditing();
  const beginEdit = useBeginEdit();
  const running = useChat((state) => state.running.has(state.thread.id));
  const failed = useChat(({ thread }) => node.unsent && [...thread.tree.values()].some(({ parent, fault }) => parent === node.id && fault));
  const wasEditing = useRef(false);
  useEffect(() => {
    if (wasEditing.current && !editing) focusNext(`[data-place="edit ${node.id}"]`);
    wasEditing.current = editing;
  }, [editing, node.id]);
  if (editing) return <Edit />;
  return (
    <article aria-label={t("message.you")}>
      <h3 className="sr-only">{t("message.you")}</h3>
      <div className="bubble" dir="auto">{visible(node.content)}</div>
      <div className="actions">
        {failed && <span className="unsent">{t("message.unsent")}</span>}
        <Branches node={node} />
        <CopyButton text={node.content} label={t("message.copy_question")} />
        <IconButton icon={Pencil} label={t("message.edit")} disabled={running} place={`edit ${node.id}`} onClick={beginEdit} />
      </div>
    </article>
  );
}

function Edit() {
  return (
    <ComposerRoot className="edit">
      <ComposerInput className="edit-input" dir="auto" autoFocus maxRows={14} aria-label={t("message.edit_label")} />
      <div className="edit-foot">
        <span className="note">{t("message.edit_note")}</span>
        <ComposerCancel className="button">{t("common.cancel")}</ComposerCancel>
        <ComposerSend className="button primary">{t("message.edit_send")}</ComposerSend>
      </div>
    </ComposerRoot>
  );
}

/** One answer, or the two models' answers beside each other. */
function Turn({ node }: { node: Node }) {
  // Not the tree itself, which changes with each word of an answer.
  const other = useChat(({ thread }) => pair(thread.tree, node)?.find(({ id }) => id !== node.id));
  const single = useChat(({ thread }) => thread.single.has(node.parent ?? ""));
  const question = node.parent;
  if (!other || !question) return <Answer node={node} />;
  if (single) {
    return <Answer node={node}><IconButton icon={Columns2} label={t("message.compare_show")} place={`compare ${question}`} onClick={() => {
      store.sideBySide(question, true);
      focusNext(`[data-place="compare ${question}"]`);
    }} /></Answer>;
  }
  const both = node.model === "base" ? [other, node] : [node, other];
  return (
    <section className="compared" aria-label={t("message.compare_label")}>
      <div className="columns">
        {both.map((each) => <Answer key={each.id} node={each} shown={each.id === node.id} />)}
      </div>
      <button type="button" className="link-button" data-place={`compare ${question}`} onClick={() => {
        store.sideBySide(question, false);
        focusNext(`[data-place="compare ${question}"]`);
      }}>{t("message.compare_hide")}</button>
    </section>
  );
}

function Answer({ node, shown, children }: { node: Node; shown?: boolean; children?: ReactNode }) {
  const [asking, setAsking] = useState<"up" | "down" | null>(null);
  const [why, setWhy] = useState(false);
  const busy = useChat((state) => state.running.has(state.thread.id));
  const lineage = useChat((state) => state.me?.lineage ?? false);
  const running = node.state === "running";
  const confirmed = !running && node.fault?.action !== "send" && node.served !== null;
  return (
    <article className={shown === undefined ? "answer" : shown ? "answer card shown" : "answer card"} aria-label={t("message.answer_by", { model: useModelName(node) })} aria-busy={running}>
      <h3 className={shown === undefined ? "sr-only" : "card-title"}>{useModelLabel(node, shown !== undefined)}</h3>
      {node.content && <Markdown text={node.content} />}
      <Progress node={node} />
      <Ending node={node} />
      {!running && (
        <div className="actions">
          <Branches node={node} compared={shown !== undefined} />
          {confirmed && (
            <>
              <CopyButton text={node.content} label={t("message.copy")} />
              <IconButton icon={ThumbsUp} label={t("message.up")} pressed={node.feedback?.value === "up"} className="thumb" onClick={() => setAsking("up")} />
              <IconButton icon={ThumbsDown} label={t("message.down")} pressed={node.feedback?.value === "down"} className="thumb" onClick={() => setAsking("down")} />
            </>
          )}
          {!node.fault && <IconButton icon={RefreshCw} label={t("message.again")} disabled={busy} onClick={() => store.answers.again(node)} />}
          {confirmed && lineage && <IconButton icon={CircleHelp} label={t("message.why")} onClick={() => setWhy(true)} />}
          {children}
          <ServedBy node={node} />
        </div>
      )}
      {shown === true && !running && <p className="continues">{t("message.continues")}</p>}
      {shown === false && confirmed && !busy && (
        <button type="button" className="link-button" onClick={() => {
          store.showBranch(node);
          focusComposer();
        }}>{t("message.continue")}</button>
      )}
      {asking && <FeedbackDialog node={node} value={asking} onClose={() => setAsking(null)} />}
      {why && <WhyDialog message={node.id} onClose={() => setWhy(false)} />}
    </article>
  );
}

function useModelName(node: Node): string {
  const me = useChat((state) => state.me);
  return node.served?.model || me?.models.find(({ id }) => id === node.model)?.name || t("message.assistant");
}

function useModelLabel(node: Node, short: boolean): string {
  const name = useModelName(node);
  return short ? t(node.model === "base" ? "model.base" : "model.tuned") : t("message.answer_by", { model: name });
}

function Progress({ node }: { node: Node }) {
  if (node.state !== "running") return null;
  const text = node.phase === "waiting" ? t("message.waiting") : node.phase === "reconnecting" ? t("message.reconnecting") : node.phase === "stopping" ? t("message.stopping") : "";
  return (
    <p className="progress">
      {!node.content && node.phase !== "waiting" && <span className="dots" aria-hidden="true"><i /><i /><i /></span>}
      {text && <span>{text}</span>}
    </p>
  );
}

/** How an answer ended, when it did not end well. */
function Ending({ node }: { node: Node }) {
  const busy = useChat((state) => state.running.has(state.thread.id));
  if (node.state === "running" || node.state === "done") return null;
  if (node.fault) {
    const action = { send: t("message.send_again"), resume: t("message.resume"), again: t("message.again") }[node.fault.action ?? "again"];
    return <FaultLine fault={node.fault} action={action} onAction={node.fault.action && !busy ? () => store.answers.retry(node) : undefined} />;
  }
  const stopped = node.state === "cut" && !node.why;
  return <p className="ended" dir="auto">{stopped ? t("message.stopped") : node.why || t(`message.${node.state as "cut"}`)}</p>;
}

function ServedBy({ node }: { node: Node }) {
  const me = useChat((state) => state.me);
  const name = useModelName(node);
  if (!node.served) return null;
  const { model_version: version, deployment } = node.served;
  const model = me?.models.find(({ id }) => id === node.model);
  const since = model && model.version === version && model.deployment === deployment ? model.since : null;
  const parts = [
    version ? `${name} ${version}` : name,
    since && t("model.since", { date: date(since) }),
    (node.seconds ?? 0) >= 0.05 && t("message.seconds", { seconds: number(node.seconds ?? 0, { maximumFractionDigits: 1 }) }),
  ].filter((part) => typeof part === "string");
  return (
    <span className="served">
      <span title={dateTime(node.at)}>{parts.map((part, place) => <span key={part}>{place > 0 && " · "}<bdi>{part}</bdi></span>)}</span>
      {Boolean(node.usage?.dropped_turns) && <span className="dropped">{t("message.dropped", { turns: node.usage?.dropped_turns ?? 0 })}</span>}
    </span>
  );
}

function Branches({ node, compared }: { node: Node; compared?: boolean }) {
  const all = useChat(({ thread }) => siblings(thread.tree, node).map(({ id }) => id).join(" ")).split(" ");
  const running = useChat((state) => state.running.has(state.thread.id));
  const place = all.indexOf(node.id);
  if (all.length < (compared ? 3 : 2)) return null;
  const go = (to: number) => {
    const next = store.state.thread.tree.get(all[to] ?? "");
    if (!next) return;
    store.showBranch(next);
    const [same, other] = to > place ? ["next", "previous"] : ["previous", "next"];
    focusNext(`[data-place="${same} ${next.id}"]:enabled`, `[data-place="${other} ${next.id}"]:enabled`);
  };
  return (
    <span className="branches" role="group" aria-label={t("message.versions")}>
      <IconButton icon={ChevronLeft} label={t("message.previous")} disabled={running || place === 0} onClick={() => go(place - 1)} place={`previous ${node.id}`} className="turn" />
      <span aria-hidden="true">{place + 1}/{all.length}</span>
      <span className="sr-only">{t("message.of", { number: place + 1, count: all.length })}</span>
      <IconButton icon={ChevronRight} label={t("message.next")} disabled={running || place === all.length - 1} onClick={() => go(place + 1)} place={`next ${node.id}`} className="turn" />
    </span>
  );
}
