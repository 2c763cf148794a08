/** The conversations of this person: newest first, searched by the server. */

import { MessageSquarePlus, Pencil, Search, Settings, Trash2, X } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Confirm, Dialog, FaultLine, Icon, IconButton, useAction } from "./controls";
import { t } from "./i18n";
import { visible } from "./markdown";
import { store, useChat } from "./store";
import type { Conversation } from "./types";

const DAY_MS = 86_400_000;
const SEARCH_MS = 250;

export function Sidebar({ onLeave, onSettings }: { onLeave: () => void; onSettings: () => void }) {
  const list = useChat((state) => state.list);
  const [renamed, setRenamed] = useState<Conversation | null>(null);
  const [deleted, setDeleted] = useState<Conversation | null>(null);
  return (
    <>
      <div className="side-head">
        <button type="button" className="new-chat" onClick={() => {
          store.openNew();
          onLeave();
        }}>
          <Icon of={MessageSquarePlus} />
          {t("list.new")}
        </button>
        <SearchBox />
      </div>
      <nav className="list" aria-label={t("list.title")} aria-busy={list.loading}>
        <h2 className="sr-only">{t("list.title")}</h2>
        {list.fault && <FaultLine fault={list.fault} onAction={() => void store.readList()} />}
        {!list.items.length && !list.loading && !list.fault && (
          <p className="note" dir="auto">{list.query ? t("list.nothing", { query: list.query }) : t("list.empty")}</p>
        )}
        {groups(list.items).map(([heading, items]) => (
          <section key={heading}>
            <h3>{heading}</h3>
            <ul>
              {items.map((item) => (
                <Row key={item.id} item={item} onOpen={onLeave} onRename={() => setRenamed(item)} onDelete={() => setDeleted(item)} />
              ))}
            </ul>
          </section>
        ))}
        {list.cursor && (
          <button type="button" className="link-button" disabled={list.loading} onClick={() => void store.readList(undefined, true)}>
            {t("list.more")}
          </button>
        )}
      </nav>
      <div className="side-foot">
        <button type="button" className="side-button" onClick={onSettings}>
          <Icon of={Settings} />
          {t("settings.title")}
        </button>
      </div>
      {renamed && <Rename item={renamed} onClose={() => setRenamed(null)} />}
      {deleted && (
        <Confirm
          title={t("delete.title")}
          text={t("delete.text", { title: titleOf(deleted) })}
          action={t("common.delete")}
          onConfirm={() => store.remove(deleted.id)}
          onClose={() => setDeleted(null)}
        />
      )}
    </>
  );
}

export const titleOf = ({ title }: Conversation): string => visible(title.trim()) || t("list.untitled");

function Row({ item, onOpen, onRename, onDelete }: { item: Conversation; onOpen: () => void; onRename: () => void; onDelete: () => void }) {
  const current = useChat((state) => state.thread.id === item.id);
  const running = useChat((state) => state.running.has(item.id));
  const title = titleOf(item);
  return (
    <li className={current ? "row current" : "row"}>
      <a href={`#/c/${item.id}`} aria-current={current ? "page" : undefined} title={title} onClick={(event) => {
        if (event.metaKey || event.ctrlKey) return;
        event.preventDefault();
        void store.open(item.id);
        onOpen();
      }}>
        {running && <span className="dot" role="img" aria-label={t("list.running")} />}
        <bdi>{title}</bdi>
      </a>
      <span className="row-actions">
        <IconButton icon={Pencil} label={t("list.rename", { title })} onClick={onRename} />
        <IconButton icon={Trash2} label={t("list.delete", { title })} onClick={onDelete} />
      </span>
    </li>
  );
}

function SearchBox() {
  const query = useChat((state) => state.list.query);
  const [text, setText] = useState(query);
  const timer = useRef(0);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const search = (wanted: string) => {
    setText(wanted);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => void store.readList(wanted.trim()), SEARCH_MS);
  };
  return (
    <div className="search" role="search">
      <Icon of={Search} size={16} />
      <input type="text" inputMode="search" enterKeyHint="search" dir="auto" value={text} aria-label={t("list.search")} placeholder={t("list.search")} onChange={(event) => search(event.target.value)} />
      {text && <IconButton icon={X} label={t("list.clear")} onClick={() => search("")} />}
    </div>
  );
}

function Rename({ item, onClose }: { item: Conversation; onClose: () => void }) {
  const [title, setTitle] = useState(item.title);
  const { working, fault, act } = useAction(onClose);
  return (
    <Dialog title={t("rename.title")} onClose={onClose} className="small">
      <form onSubmit={(event) => {
        event.preventDefault();
        if (title.trim()) void act(() => store.rename(item.id, title.trim()));
      }}>
        <label className="field">
          <span>{t("rename.label")}</span>
          <input type="text" data-first dir="auto" maxLength={200} value={title} onFocus={(event) => event.target.select()} onChange={(event) => setTitle(event.target.value)} />
        </label>
        {fault && <FaultLine fault={fault} />}
        <div className="dialog-buttons">
          <button type="button" className="button" onClick={onClose}>{t("common.cancel")}</button>
          <button type="submit" className="button primary" disabled={working || !title.trim()}>{t("common.save")}</button>
        </div>
      </form>
    </Dialog>
  );
}

function groups(items: Conversation[]): [string, Conversation[]][] {
  const today = new Date().setHours(0, 0, 0, 0);
  const grouped = new Map<string, Conversation[]>();
  for (const item of items) {
    const at = Date.parse(item.updated);
    const heading = at >= today ? t("list.today") : at >= today - DAY_MS ? t("list.yesterday") : at >= today - 7 * DAY_MS ? t("list.week") : t("list.older");
    grouped.set(heading, [...(grouped.get(heading) ?? []), item]);
  }
  return [...grouped];
}
