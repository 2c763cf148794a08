/** What the page knows: the conversations, the open one as a tree, and the answers that are being written. */

import { useSyncExternalStore } from "react";
import { api, ApiError } from "./api";
import { eventsOf, type Numbered } from "./events";
import { children, path, type Fault, type Node, type Tree } from "./tree";
import type { Conversation, Feedback, Me, Message, ModelId } from "./types";

export type Choice = ModelId | "compare";

export interface Thread {
  id: string;
  conversation: Conversation | null;
  tree: Tree;
  head: string | null;
  loading: boolean;
  fault: Fault | null;
  /** Questions whose two models' answers are shown one at a time. */
  single: ReadonlySet<string>;
}

export interface List {
  items: Conversation[];
  cursor: string | null;
  query: string;
  loading: boolean;
  fault: Fault | null;
}

export interface State {
  me: Me | null;
  meFault: Fault | null;
  list: List;
  thread: Thread;
  choice: Choice;
  /** Conversations in which an answer is being written. */
  running: ReadonlySet<string>;
  /** What failed and has no place of its own. */
  notice: Fault | null;
  /** For the live region: `answering`, or a finished answer. */
  said: { kind: "answering" | "answer" | "stopped" | "failed"; text: string; at: number } | null;
}

interface Job {
  conversation: string;
  question: Node;
  answer: string;
  model: ModelId;
  /** The server has the question: read on by event number instead of posting. */
  posted: boolean;
  stop: boolean;
  abort: AbortController;
}

const MAX_TRIES = 8;
/** How often a growing answer is drawn; a long one is parsed again each time. */
const DRAW_MS = 40;

export const newId = (): string => crypto.randomUUID();

const emptyThread = (id: string): Thread => ({
  id,
  conversation: null,
  tree: new Map(),
  head: null,
  loading: false,
  fault: null,
  single: new Set(),
});

export function faultOf(error: unknown, action: Fault["action"] = null): Fault {
  if (error instanceof ApiError) return { code: error.code, text: error.message, retryAfter: error.retryAfter, action };
  return { code: "network", text: "", retryAfter: null, action };
}

export class ChatStore {
  private listeners = new Set<() => void>();
  private jobs = new Map<string, Job>();
  /** Threads that hold more than the server does: a running answer, or a question that was not sent. */
  private kept = new Map<string, Thread>();
  /** Unsent texts, by conversation; in memory only. */
  private drafts = new Map<string, string>();
  private listRead = 0;

  state: State = {
    me: null,
    meFault: null,
    list: { items: [], cursor: null, query: "", loading: true, fault: null },
    thread: emptyThread(newId()),
    choice: "tuned",
    running: new Set(),
    notice: null,
    said: null,
  };

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  private set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }

  // --- who asks, and what can be asked

  async readMe(): Promise<void> {
    try {
      const me = await api.me();
      const usable = me.models.find((model) => model.available) ?? me.models[0];
      const known = this.state.choice === "compare" ? me.compare : me.models.some(({ id, available }) => id === this.state.choice && available);
      this.set({ me, meFault: null, choice: known ? this.state.choice : (usable?.id ?? "tuned") });
    } catch (error) {
      this.set({ meFault: faultOf(error) });
    }
  }

  choose(choice: Choice): void {
    this.set({ choice });
  }

  closeNotice(): void {
    this.set({ notice: null });
  }

  // --- the list of conversations

  async readList(query = this.state.list.query, more = false): Promise<void> {
    const read = ++this.listRead;
    const { list } = this.state;
    this.set({ list: { ...list, query, loading: true, fault: null } });
    try {
      const found = await api.conversations(more ? list.cursor : null, query);
      if (read !== this.listRead) return;
      const known = new Set(found.conversations.map(({ id }) => id));
      const items = more ? [...list.items.filter(({ id }) => !known.has(id)), ...found.conversations] : found.conversations;
      this.set({ list: { items, cursor: found.cursor, query, loading: false, fault: null } });
    } catch (error) {
      if (read === this.listRead) this.set({ list: { ...this.state.list, loading: false, fault: faultOf(error) } });
    }
  }

  private toList(conversation: Conversation, onTop: boolean): void {
    const { list } = this.state;
    const present = list.items.some(({ id }) => id === conversation.id);
    if (!present && list.query) return;
    const rest = list.items.filter(({ id }) => id !== conversation.id);
    const items = onTop || !present ? [conversation, ...rest] : list.items.map((item) => (item.id === conversation.id ? conversation : item));
    this.set({ list: { ...list, items } });
  }

  async rename(id: string, title: string): Promise<void> {
    const conversation = await api.patch(id, { title });
    this.toList(conversation, false);
    this.change(id, (thread) => ({ ...thread, conversation }));
  }

  async remove(id: string): Promise<void> {
    await api.remove(id);
    this.forget([id]);
  }

  async removeAll(): Promise<void> {
    await api.removeAll();
    this.forget([...this.state.list.items.map((item) => item.id), ...this.kept.keys(), this.state.thread.id]);
    this.set({ list: { ...this.state.list, items: [], cursor: null } });
  }

  private forget(ids: string[]): void {
    const gone = new Set(ids);
    for (const job of this.jobs.values()) if (gone.has(job.conversation)) job.abort.abort();
    for (const id of gone) {
      this.kept.delete(id);
      this.drafts.delete(id);
    }
    this.set({ list: { ...this.state.list, items: this.state.list.items.filter(({ id }) => !gone.has(id)) } });
    if (gone.has(this.state.thread.id)) this.openNew();
  }

  // --- the open conversation

  draft(id: string): string {
    return this.drafts.get(id) ?? "";
  }

  keepDraft(id: string, text: string): void {
    if (text) this.drafts.set(id, text);
    else this.drafts.delete(id);
  }

  openNew(): void {
    this.set({ thread: emptyThread(newId()), said: null });
    if (location.hash && location.hash !== "#/") history.pushState(null, "", "#/");
  }

  /** Opens what the address names. */
  openAddress(): void {
    const id = /^#\/c\/([\w-]{8,64})$/.exec(location.hash)?.[1];
    if (!id) this.set({ thread: emptyThread(newId()), said: null });
    else if (id !== this.state.thread.id || !this.state.thread.conversation) void this.open(id);
  }

  async open(id: string): Promise<void> {
    if (location.hash !== `#/c/${id}`) history.pushState(null, "", `#/c/${id}`);
    const kept = this.kept.get(id);
    this.set({ thread: kept ?? { ...emptyThread(id), loading: true }, said: null });
    if (!kept) await this.read(id);
  }

  /** Reads the whole tree, and takes up an answer that is still being written. */
  async read(id: string): Promise<void> {
    this.change(id, (thread) => ({ ...thread, loading: !thread.tree.size, fault: null }));
    try {
      const { conversation, messages } = await api.conversation(id);
      this.change(id, (thread) => {
        const tree = new Map<string, Node>(messages.map((message) => [message.id, message]));
        for (const node of thread.tree.values()) if (!tree.has(node.id) && (node.unsent || node.fault)) tree.set(node.id, node);
        const head = thread.head && tree.has(thread.head) ? thread.head : conversation.head;
        return { ...thread, conversation, tree, head: head ?? messages.at(-1)?.id ?? null, loading: false, fault: null };
      });
      for (const message of messages) {
        if (message.state === "running" && message.role === "assistant" && !this.jobs.has(message.id)) {
          const question = messages.find((each) => each.id === message.parent);
          if (question) void this.run(this.job(id, question, message.id, message.model ?? "tuned", true));
        }
      }
    } catch (error) {
      this.change(id, (thread) => ({ ...thread, loading: false, fault: faultOf(error) }));
    }
  }

  private change(id: string, how: (thread: Thread) => Thread): void {
    const current = this.state.thread.id === id ? this.state.thread : this.kept.get(id);
    if (!current) return;
    const next = how(current);
    if (this.kept.has(id)) this.kept.set(id, next);
    if (this.state.thread.id === id) this.set({ thread: next });
  }

  private keep(id: string): void {
    if (this.state.thread.id === id && !this.kept.has(id)) this.kept.set(id, this.state.thread);
  }

  /** A thread without running answers and unsent questions can be read again from the server. */
  private release(id: string): void {
    const thread = this.kept.get(id);
    if (!thread || [...this.jobs.values()].some((job) => job.conversation === id)) return;
    if ([...thread.tree.values()].some((node) => node.unsent || node.fault)) return;
    this.kept.delete(id);
  }

  private put(id: string, change: Partial<Node> & { id: string }): void {
    this.change(id, (thread) => {
      const tree = new Map(thread.tree);
      tree.set(change.id, { ...(tree.get(change.id) as Node), ...change });
      return { ...thread, tree };
    });
  }

  private without(id: string, message: string): void {
    this.change(id, (thread) => {
      const tree = new Map(thread.tree);
      tree.delete(message);
      return { ...thread, tree };
    });
  }

  showBranch(node: Node): void {
    const { id } = this.state.thread;
    this.change(id, (thread) => ({ ...thread, head: node.id }));
    const shown = path(this.state.thread.tree, node.id).at(-1);
    // The shown branch is a convenience: when it cannot be stored, the page still shows it.
    if (shown && !node.unsent && !this.busy(id)) {
      api.patch(id, { head: shown.id }).then(
        (conversation) => this.change(id, (thread) => ({ ...thread, conversation })),
        () => undefined,
      );
    }
  }

  sideBySide(question: string, shown: boolean): void {
    this.change(this.state.thread.id, (thread) => {
      const single = new Set(thread.single);
      if (shown) single.delete(question);
      else single.add(question);
      return { ...thread, single };
    });
  }

  // --- asking

  busy(conversation: string): boolean {
    return this.state.running.has(conversation);
  }

  /** Asks a new question after what is shown. */
  askNext(content: string): void {
    const { thread } = this.state;
    const last = path(thread.tree, thread.head).filter((node) => node.role === "assistant" && !unconfirmed(node)).at(-1);
    void this.ask(content, last?.id ?? null);
  }

  edit(question: string, content: string): void {
    const node = this.state.thread.tree.get(question);
    if (node) void this.ask(content, node.parent);
  }

  private async ask(content: string, parent: string | null): Promise<void> {
    const question = questionOf(content, parent);
    const { id } = this.state.thread;
    this.put(id, question);
    if (location.hash !== `#/c/${id}`) history.pushState(null, "", `#/c/${id}`);
    await this.answerBy(id, question, this.chosen());
  }

  private chosen(): ModelId[] {
    const { choice } = this.state;
    return choice === "compare" ? ["tuned", "base"] : [choice];
  }

  /** Asks the models one after the other: the server writes one answer at a time. */
  private async answerBy(id: string, question: Node, models: ModelId[]): Promise<void> {
    const jobs = models.map((model) => this.job(id, question, newId(), model, false));
    jobs.forEach((job, place) => this.put(id, answerOf(job, place ? "waiting" : "sending")));
    this.change(id, (thread) => ({ ...thread, head: jobs[0]?.answer ?? thread.head }));
    for (const job of jobs) {
      this.jobs.set(job.answer, job);
      this.keep(id);
    }
    let going = true;
    for (const job of jobs) {
      if (going) going = await this.run(job);
      else {
        this.jobs.delete(job.answer);
        this.without(id, job.answer);
        this.settled(id);
      }
    }
  }

  /** Another answer to the same question. */
  again(answer: Node, model: ModelId | undefined = answer.model): void {
    const { thread } = this.state;
    const question = answer.parent ? thread.tree.get(answer.parent) : undefined;
    if (!question || this.busy(thread.id)) return;
    void this.answerBy(thread.id, question, [model ?? "tuned"]);
  }

  /** The button of a fault: the same ids again, or reading on. */
  retry(answer: Node): void {
    const { thread } = this.state;
    const question = answer.parent ? thread.tree.get(answer.parent) : undefined;
    if (!question || this.busy(thread.id)) return;
    if (answer.fault?.action === "again" || !answer.fault) return this.again(answer);
    const job = this.job(thread.id, question, answer.id, answer.model ?? "tuned", answer.fault.action === "resume");
    this.put(thread.id, { ...answerOf(job, job.posted ? "reconnecting" : "sending"), content: answer.content });
    void this.run(job);
  }

  private job(conversation: string, question: Node, answer: string, model: ModelId, posted: boolean): Job {
    return { conversation, question, answer, model, posted, stop: false, abort: new AbortController() };
  }

  stop(): void {
    const { thread } = this.state;
    const job = [...this.jobs.values()].find((each) => each.conversation === thread.id);
    if (!job || job.stop) return;
    job.stop = true;
    this.put(thread.id, { id: job.answer, phase: "stopping" });
    if (job.posted) void this.sendStop(job);
  }

  private async sendStop(job: Job): Promise<void> {
    try {
      await api.stop(job.conversation, job.answer);
    } catch (error) {
      if (error instanceof ApiError && error.code === "not_found") return;
      job.stop = false;
      this.set({ notice: faultOf(error) });
      this.put(job.conversation, { id: job.answer, phase: "streaming" });
    }
  }

  /** Reads one answer to its end, through cuts of the connection. Returns whether it was finished. */
  private async run(job: Job): Promise<boolean> {
    const { conversation: id, answer, abort } = job;
    this.jobs.set(answer, job);
    this.keep(id);
    this.set({ running: new Set(this.state.running).add(id), said: { kind: "answering", text: "", at: Date.now() } });
    const drawn = new Drawing((content) => this.put(id, { id: answer, content, ...(job.stop ? {} : { phase: "streaming" as const }) }));
    drawn.known = this.nodeOf(id, answer)?.content ?? "";
    let after = 0;
    let tries = 0;
    try {
      for (;;) {
        try {
          const response = job.posted
            ? await api.stream(id, answer, after, abort.signal)
            : await api.post(id, this.questionOf(job), abort.signal);
          for await (const event of eventsOf(response)) {
            if (event.id <= after) continue;
            after = event.id;
            tries = 0;
            const ended = this.take(job, event, drawn);
            if (ended !== null) return ended;
          }
        } catch (error) {
          if (abort.signal.aborted) return false;
          if (error instanceof ApiError && error.code === "not_found" && job.posted) return await this.readEnd(job);
          if (error instanceof ApiError && !passes(error)) return this.fail(job, faultOf(error, action(error, job)));
          if (!job.posted) return this.fail(job, faultOf(error, "send"));
        }
        if (++tries > MAX_TRIES) return this.fail(job, { code: "lost", text: "", retryAfter: null, action: job.posted ? "resume" : "send" });
        drawn.flush();
        if (!job.stop) this.put(id, { id: answer, phase: "reconnecting" });
        await wait(Math.min(8000, 250 * 2 ** tries), abort.signal);
      }
    } finally {
      drawn.end();
      this.jobs.delete(answer);
      this.settled(id);
    }
  }

  private questionOf({ question, answer, model }: Job) {
    return { id: question.id, parent: question.parent, content: question.content, answer_id: answer, model };
  }

  private nodeOf(id: string, message: string): Node | undefined {
    return (this.state.thread.id === id ? this.state.thread : this.kept.get(id))?.tree.get(message);
  }

  private settled(id: string): void {
    if ([...this.jobs.values()].some((job) => job.conversation === id)) return;
    const running = new Set(this.state.running);
    running.delete(id);
    this.set({ running });
    this.release(id);
  }

  /** Applies an event; returns whether the answer is finished, or null while it goes on. */
  private take(job: Job, event: Numbered, drawn: Drawing): boolean | null {
    const { conversation: id, answer } = job;
    switch (event.name) {
      case "started": {
        const user = event.data.user;
        job.posted = true;
        this.put(id, { ...user, unsent: false });
        this.change(id, (thread) => ({ ...thread, conversation: event.data.conversation }));
        this.toList(event.data.conversation, true);
        if (job.stop) void this.sendStop(job);
        else this.put(id, { id: answer, phase: "streaming" });
        return null;
      }
      case "delta":
        drawn.add(event.data.text);
        return null;
      case "done":
      case "cut": {
        drawn.end();
        const { message, conversation } = event.data;
        const change: Node = { ...message };
        if (event.name === "cut" && event.data.code !== "stopped") {
          const { code, why, retry } = event.data;
          change.fault = { code, text: why, retryAfter: null, action: retry ? "again" : null };
        }
        this.replace(id, change, conversation);
        if (event.name === "done") this.say("answer", message.content);
        else this.say(event.data.code === "stopped" ? "stopped" : "failed", event.data.why);
        this.meMayBeOld(message);
        return event.name === "done";
      }
    }
    return null;
  }

  private say(kind: "answer" | "stopped" | "failed", text: string): void {
    this.set({ said: { kind, text, at: Date.now() } });
  }

  private replace(id: string, node: Node, conversation: Conversation): void {
    this.change(id, (thread) => {
      const tree = new Map(thread.tree);
      tree.set(node.id, node);
      return { ...thread, tree, conversation };
    });
    this.toList(conversation, true);
  }

  /** A new version may have been deployed since the page was opened. */
  private meMayBeOld({ model, served }: Message): void {
    const known = this.state.me?.models.find(({ id }) => id === model);
    if (served?.model_version && known && known.version !== served.model_version) void this.readMe();
  }

  /** The stream is over and gone: the conversation has the answer. */
  private async readEnd(job: Job): Promise<boolean> {
    try {
      const { conversation, messages } = await api.conversation(job.conversation);
      const message = messages.find(({ id }) => id === job.answer);
      if (message && message.state !== "running") {
        this.replace(job.conversation, message, conversation);
        this.say(message.state === "done" ? "answer" : "failed", message.content);
        return message.state === "done";
      }
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "not_found")) return this.fail(job, faultOf(error, "resume"));
    }
    return this.fail(job, { code: "lost", text: "", retryAfter: null, action: "send" });
  }

  private fail(job: Job, fault: Fault): false {
    const { conversation: id, answer } = job;
    const node = this.nodeOf(id, answer);
    if (node) {
      const { phase: _, ...rest } = node;
      this.change(id, (thread) => ({ ...thread, tree: new Map(thread.tree).set(answer, { ...rest, state: "failed", fault }) }));
    }
    this.say("failed", "");
    return false;
  }

  // --- feedback

  async giveFeedback(message: string, feedback: Feedback): Promise<void> {
    const { id } = this.state.thread;
    const stored = await api.feedback(id, message, feedback);
    this.put(id, { id: message, feedback: stored.feedback });
  }

  async withdrawFeedback(message: string): Promise<void> {
    const { id } = this.state.thread;
    await api.withdraw(id, message);
    this.put(id, { id: message, feedback: null });
  }
}

/** A growing text, drawn at most every DRAW_MS. */
class Drawing {
  /** What was shown before the stream was read again from its start: shown until the stream is longer. */
  known = "";
  private text = "";
  private timer = 0;

  constructor(private readonly draw: (text: string) => void) {}

  add(text: string): void {
    this.text += text;
    if (this.text.length < this.known.length) return;
    this.timer ||= window.setTimeout(() => this.flush(), Math.max(DRAW_MS, this.text.length / 100));
  }

  flush(): void {
    if (this.timer) this.draw(this.text);
    this.end();
  }

  end(): void {
    window.clearTimeout(this.timer);
    this.timer = 0;
  }
}

/** The server may not know this answer: nothing can follow it. */
const unconfirmed = ({ fault }: Node): boolean => Boolean(fault && fault.action !== "again" && fault.action !== "resume");

function questionOf(content: string, parent: string | null): Node {
  return { ...blank(newId(), parent), role: "user", content, state: "done", unsent: true };
}

function answerOf({ answer, question, model }: Job, phase: Node["phase"]): Node {
  return { ...blank(answer, question.id), role: "assistant", state: "running", model, phase: phase ?? "sending", fault: undefined };
}

function blank(id: string, parent: string | null) {
  return { id, parent, content: "", why: "", at: new Date().toISOString(), served: null, usage: null, seconds: null, feedback: null };
}

/** A proxy's own answer, or a pause of the server: reading on may succeed. */
const passes = ({ code, status }: ApiError): boolean => code === "network" || (code === "server" && status >= 500);

function action({ code }: ApiError, job: Job): Fault["action"] {
  if (["refused_by_filter", "invalid", "too_large", "conflict"].includes(code)) return null;
  return job.posted ? "resume" : "send";
}

/** Waits, or until the machine is online again. */
function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      window.clearTimeout(timer);
      window.removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = window.setTimeout(end, milliseconds);
    window.addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}

export const store = new ChatStore();

export function useChat<T>(select: (state: State) => T): T {
  return useSyncExternalStore(store.subscribe, () => select(store.state));
}

export function siblings(tree: Tree, node: Node): Node[] {
  return children(tree, node.parent).filter(({ role }) => role === node.role);
}
