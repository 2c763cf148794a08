/** The records of the chat API, as the server sends them. */

export type ModelId = "tuned" | "base";

export interface Model {
  id: ModelId;
  name: string;
  version: string;
  deployment: string;
  since: string | null;
  available: boolean;
  why_not: string;
}

export interface Me {
  name: string;
  local: boolean;
  sign_out: string | null;
  models: Model[];
  compare: boolean;
  compare_note: string;
  limits: { question_bytes: number };
  keep_days: number;
  lineage: boolean;
  examples?: string[];
}

export interface Conversation {
  id: string;
  title: string;
  created: string;
  updated: string;
  head: string | null;
  etag: string;
}

export interface Served {
  answer_id: string;
  deployment: string;
  model: string;
  model_version: string;
  model_digest: string;
  dataset_digest: string;
  dagster_run: string;
}

export interface Feedback {
  value: "up" | "down";
  comment: string;
  correction: string;
  consent: boolean;
  at?: string;
}

export interface Message {
  id: string;
  parent: string | null;
  role: "user" | "assistant";
  content: string;
  state: "done" | "running" | "cut" | "failed" | "refused";
  why: string;
  at: string;
  model?: ModelId;
  served: Served | null;
  usage: { prompt_tokens: number; completion_tokens: number; dropped_turns: number } | null;
  seconds: number | null;
  feedback: Feedback | null;
}

export interface Why {
  served: Served;
  facts: { name: string; value: string; note: string }[];
  nearest: { source: string; similarity: number; text: string | null; reviewed?: boolean }[];
  note: string;
}

export type StreamEvent =
  | { name: "started"; data: { answer_id: string; conversation: Conversation; user: Message } }
  | { name: "delta"; data: { text: string } }
  | { name: "done"; data: { message: Message; conversation: Conversation } }
  | { name: "cut"; data: { message: Message; conversation: Conversation; why: string; code: string; retry: boolean } };
