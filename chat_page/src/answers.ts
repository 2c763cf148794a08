/** Asks questions and reads their answers, through cuts of the connection. */

import { api, ApiError } from "./api";
import { Drawing, wait } from "./drawing";
import { eventsOf, type Numbered } from "./events";
import { faultOf, newId, type ChatStore } from "./store";
import { path, type Fault, type Node } from "./tree";
import type { Message, ModelId } from "./types";

const MAX_TRIES = 8;

interface Job {
  conversation: string;
  question: Node;
  answer: string;
  model: ModelId;
  /** The server has the question: read on by event number instead of posting. */
  posted: boolean;
  /** The second of two compared answers: it waits while the server is still busy with the first. */
  patient: boolean;
  stop: boolean;
  abort: AbortController;
}

export class Answers {
  private jobs = new Map<string, Job>();

  constructor(private readonly store: ChatStore) {}

  /** Asks a new question after what is shown. */
  askNext(content: string): void {
    const { thread } = this.store.state;
    const last = path(thread.tree, thread.head).filter((node) => node.role === "assistant" && !unconfirmed(node)).at(-1);
    void this.ask(content, last?.id ?? null);
  }

  edit(question: string, content: string): void {
    const node = this.store.state.thread.tree.get(question);
    if (node) void this.ask(content, node.parent);
  }

  private async ask(content: string, parent: string | null): Promise<void> {
    const question = questionOf(content, parent);
    const { id } = this.store.state.thread;
    this.store.put(id, question);
    if (location.hash !== `#/c/${id}`) history.pushState(null, "", `#/c/${id}`);
    await this.answerBy(id, question, this.chosen());
  }

  private chosen(): ModelId[] {
    const { choice } = this.store.state;
    return choice === "compare" ? ["tuned", "base"] : [choice];
  }

  /** Asks the models one after the other: the server writes one answer at a time. */
  private async answerBy(id: string, question: Node, models: ModelId[]): Promise<void> {
    const jobs = models.map((model) => this.job(id, question, newId(), model, false));
    jobs.forEach((job, place) => {
      job.patient = place > 0;
      this.store.put(id, answerOf(job, place ? "waiting" : "sending"));
    });
    this.store.change(id, (thread) => ({ ...thread, head: jobs[0]?.answer ?? thread.head }));
    for (const job of jobs) {
      this.jobs.set(job.answer, job);
      this.store.keep(id);
    }
    let going = true;
    for (const job of jobs) {
      if (going) going = await this.run(job);
      else {
        this.jobs.delete(job.answer);
        this.store.without(id, job.answer);
        this.settled(id);
      }
    }
  }

  /** Another answer to the same question. */
  again(answer: Node, model: ModelId | undefined = answer.model): void {
    const { thread } = this.store.state;
    const question = answer.parent ? thread.tree.get(answer.parent) : undefined;
    if (!question || this.store.busy(thread.id)) return;
    void this.answerBy(thread.id, question, [model ?? "tuned"]);
  }

  /** The button of a fault: the same ids again, or reading on. */
  retry(answer: Node): void {
    const { thread } = this.store.state;
    const question = answer.parent ? thread.tree.get(answer.parent) : undefined;
    if (!question || this.store.busy(thread.id)) return;
    if (answer.fault?.action === "again" || !answer.fault) return this.again(answer);
    const job = this.job(thread.id, question, answer.id, answer.model ?? "tuned", answer.fault.action === "resume");
    this.store.put(thread.id, { ...answerOf(job, job.posted ? "reconnecting" : "sending"), content: answer.content });
    void this.run(job);
  }

  /** Reads on the answers that the server is still writing. */
  takeUp(id: string, messages: Message[]): void {
    for (const message of messages) {
      if (message.state !== "running" || message.role !== "assistant" || this.jobs.has(message.id)) continue;
      const question = messages.find((each) => each.id === message.parent);
      if (question) void this.run(this.job(id, question, message.id, message.model ?? "tuned", true));
    }
  }

  /** Stops reading answers of conversations that are deleted. */
  abandon(conversations: ReadonlySet<string>): void {
    for (const job of this.jobs.values()) if (conversations.has(job.conversation)) job.abort.abort();
  }

  private job(conversation: string, question: Node, answer: string, model: ModelId, posted: boolean): Job {
    return { conversation, question, answer, model, posted, patient: false, stop: false, abort: new AbortController() };
  }

  stop(): void {
    const { thread } = this.store.state;
    const job = [...this.jobs.values()].find((each) => each.conversation === thread.id);
    if (!job || job.stop) return;
    job.stop = true;
    this.store.put(thread.id, { id: job.answer, phase: "stopping" });
    if (job.posted) void this.sendStop(job);
  }

  private async sendStop(job: Job): Promise<void> {
    try {
      await api.stop(job.conversation, job.answer);
    } catch (error) {
      if (error instanceof ApiError && error.code === "not_found") return;
      job.stop = false;
      this.store.set({ notice: faultOf(error) });
      this.store.put(job.conversation, { id: job.answer, phase: "streaming" });
    }
  }

  /** Reads one answer to its end, through cuts of the connection. Returns whether it was finished. */
  private async run(job: Job): Promise<boolean> {
    const { conversation: id, answer, abort } = job;
    this.jobs.set(answer, job);
    this.store.keep(id);
    this.store.set({ running: new Set(this.store.state.running).add(id), said: { kind: "answering", text: "", at: Date.now() } });
    const drawn = new Drawing((content) => this.store.put(id, { id: answer, content, ...(job.stop ? {} : { phase: "streaming" as const }) }));
    drawn.known = this.store.nodeOf(id, answer)?.content ?? "";
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
          if (error instanceof ApiError && error.code === "busy" && job.patient && tries < 3) {
            tries += 1;
            await wait(1000 * (error.retryAfter ?? 1), abort.signal);
            continue;
          }
          if (error instanceof ApiError && !passes(error)) return this.fail(job, faultOf(error, action(error, job)));
          if (!job.posted) return this.fail(job, faultOf(error, "send"));
        }
        if (++tries > MAX_TRIES) return this.fail(job, lost(job.posted ? "resume" : "send"));
        drawn.flush();
        if (!job.stop) this.store.put(id, { id: answer, phase: "reconnecting" });
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

  private settled(id: string): void {
    if ([...this.jobs.values()].some((job) => job.conversation === id)) return;
    const running = new Set(this.store.state.running);
    running.delete(id);
    this.store.set({ running });
    this.store.release(id);
  }

  /** Applies an event; returns whether the answer is finished, or null while it goes on. */
  private take(job: Job, event: Numbered, drawn: Drawing): boolean | null {
    const { conversation: id, answer } = job;
    switch (event.name) {
      case "started": {
        const user = event.data.user;
        job.posted = true;
        this.store.put(id, { ...user, unsent: false });
        this.store.change(id, (thread) => ({ ...thread, conversation: event.data.conversation }));
        this.store.toList(event.data.conversation, true);
        if (job.stop) void this.sendStop(job);
        else this.store.put(id, { id: answer, phase: "streaming" });
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
        this.store.replace(id, change, conversation);
        if (event.name === "done") this.say("answer", message.content);
        else this.say(event.data.code === "stopped" ? "stopped" : "failed", event.data.why);
        this.meMayBeOld(message);
        return event.name === "done";
      }
    }
    return null;
  }

  private say(kind: "answer" | "stopped" | "failed", text: string): void {
    this.store.set({ said: { kind, text, at: Date.now() } });
  }

  /** A new version may have been deployed since the page was opened. */
  private meMayBeOld({ model, served }: Message): void {
    const known = this.store.state.me?.models.find(({ id }) => id === model);
    if (served?.model_version && known && known.version !== served.model_version) void this.store.readMe();
  }

  /** The stream is over and gone: the conversation has the answer. */
  private async readEnd(job: Job): Promise<boolean> {
    try {
      const { conversation, messages } = await api.conversation(job.conversation);
      const message = messages.find(({ id }) => id === job.answer);
      if (message && message.state !== "running") {
        this.store.replace(job.conversation, message, conversation);
        this.say(message.state === "done" ? "answer" : "failed", message.content);
        return message.state === "done";
      }
      // A server that was stopped in the middle leaves an answer that nobody writes.
      if (message) return this.fail(job, lost("again"));
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "not_found")) return this.fail(job, faultOf(error, "resume"));
    }
    return this.fail(job, lost("send"));
  }

  private fail(job: Job, fault: Fault): false {
    const { conversation: id, answer } = job;
    const node = this.store.nodeOf(id, answer);
    if (node) {
      const { phase: _, ...rest } = node;
      this.store.change(id, (thread) => ({ ...thread, tree: new Map(thread.tree).set(answer, { ...rest, state: "failed", fault }) }));
    }
    this.say("failed", "");
    return false;
  }
}

/** The server may not know this answer: nothing can follow it. */
const unconfirmed = ({ fault }: Node): boolean => Boolean(fault?.local && fault.action !== "resume");

function questionOf(content: string, parent: string | null): Node {
  return { ...blank(newId(), parent), role: "user", content, state: "done", unsent: true };
}

function answerOf({ answer, question, model }: Job, phase: Node["phase"]): Node {
  return { ...blank(answer, question.id), role: "assistant", state: "running", model, phase: phase ?? "sending", fault: undefined };
}

function blank(id: string, parent: string | null) {
  return { id, parent, content: "", why: "", at: new Date().toISOString(), served: null, usage: null, seconds: null, feedback: null };
}

const lost = (action: Fault["action"]): Fault => ({ code: "lost", text: "", retryAfter: null, action, local: true });

/** A proxy's own answer, or a pause of the server: reading on may succeed. */
const passes = ({ code, status }: ApiError): boolean => code === "network" || (code === "server" && status >= 500);

function action({ code }: ApiError, job: Job): Fault["action"] {
  if (["refused_by_filter", "invalid", "too_large", "conflict"].includes(code)) return null;
  return job.posted ? "resume" : "send";
}
