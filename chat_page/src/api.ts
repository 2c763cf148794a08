/** Requests to the chat API, and its errors. */

import type { Conversation, Feedback, Me, Message, ModelId, Why } from "./types";

/** The server's own error, or `network` where no answer came. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status: number,
    readonly retryAfter: number | null,
  ) {
    super(message);
  }
}

async function ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json, text/event-stream" };
  if (method !== "GET") {
    headers["x-phi-chat"] = "1";
    headers["content-type"] = "application/json";
  }
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      // A platform's sign-in redirects to another origin, which the page must not follow.
      redirect: "manual",
      signal: signal ?? null,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("network", "", 0, null);
  }
  if (response.type === "opaqueredirect") throw new ApiError("signed_out", "", 401, null);
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** A proxy's error has no JSON of ours: its code is the status. */
async function errorOf(response: Response): Promise<ApiError> {
  try {
    const { error } = (await response.json()) as { error: { code: string; message: string; retry_after: number | null } };
    return new ApiError(String(error.code), String(error.message ?? ""), response.status, error.retry_after ?? null);
  } catch {
    return new ApiError(response.status === 401 ? "signed_out" : "server", "", response.status, null);
  }
}

async function json<T>(method: string, path: string, body?: unknown): Promise<T> {
  return (await (await ask(method, path, body)).json()) as T;
}

const of = (conversation: string) => `/api/conversations/${encodeURIComponent(conversation)}`;
const ofMessage = (conversation: string, message: string) =>
  `${of(conversation)}/messages/${encodeURIComponent(message)}`;

export interface Question {
  id: string;
  parent: string | null;
  content: string;
  answer_id: string;
  model: ModelId;
}

export const api = {
  me: () => json<Me>("GET", "/api/me"),
  conversations: (cursor: string | null, query: string) => {
    const wanted = new URLSearchParams();
    if (cursor) wanted.set("cursor", cursor);
    if (query) wanted.set("q", query);
    const text = wanted.toString();
    return json<{ conversations: Conversation[]; cursor: string | null }>(
      "GET",
      `/api/conversations${text && `?${text}`}`,
    );
  },
  conversation: (id: string) => json<{ conversation: Conversation; messages: Message[] }>("GET", of(id)),
  post: (conversation: string, question: Question, signal: AbortSignal) =>
    ask("POST", `${of(conversation)}/messages`, question, signal),
  stream: (conversation: string, answer: string, after: number, signal: AbortSignal) =>
    ask("GET", `${ofMessage(conversation, answer)}/stream?after=${after}`, undefined, signal),
  stop: (conversation: string, answer: string) => ask("POST", `${ofMessage(conversation, answer)}/stop`, {}),
  patch: (id: string, change: { title?: string; head?: string }) => json<Conversation>("PATCH", of(id), change),
  remove: (id: string) => ask("DELETE", of(id)),
  removeAll: () => ask("DELETE", "/api/conversations"),
  feedback: (conversation: string, message: string, feedback: Feedback) =>
    json<Message>("PUT", `${ofMessage(conversation, message)}/feedback`, feedback),
  withdraw: (conversation: string, message: string) => ask("DELETE", `${ofMessage(conversation, message)}/feedback`),
  why: (conversation: string, message: string) => json<Why>("GET", `${ofMessage(conversation, message)}/why`),
};
