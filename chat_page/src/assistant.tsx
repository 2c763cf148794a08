/** The only file that uses assistant-ui: our store as its external store, and the parts of it that the page draws with. */

import {
  AssistantRuntimeProvider,
  ComposerPrimitive,
  MessagePrimitive,
  ThreadPrimitive,
  useAui,
  useAuiState,
  useExternalStoreRuntime,
  type AppendMessage,
  type ThreadMessageLike,
} from "@assistant-ui/react";
import { useEffect, useMemo, type ReactNode } from "react";
import { store, useChat } from "./store";
import { path, type Node } from "./tree";

function textOf({ content }: AppendMessage): string {
  return content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

const STATUS: Record<Node["state"], ThreadMessageLike["status"]> = {
  running: { type: "running" },
  done: { type: "complete", reason: "stop" },
  cut: { type: "incomplete", reason: "cancelled" },
  failed: { type: "incomplete", reason: "error" },
  refused: { type: "incomplete", reason: "content-filter" },
};

function converted(node: Node): ThreadMessageLike {
  const shared = { id: node.id, role: node.role, content: node.content, createdAt: new Date(node.at) };
  return node.role === "user" ? shared : { ...shared, status: STATUS[node.state] };
}

/** Branches stay in our tree, which the server stores; assistant-ui is given the path that is shown. */
export function ChatRuntime({ children }: { children: ReactNode }) {
  const thread = useChat((state) => state.thread);
  const running = useChat((state) => state.running.has(state.thread.id));
  const messages = useMemo(() => path(thread.tree, thread.head), [thread.tree, thread.head]);
  const runtime = useExternalStoreRuntime<Node>({
    messages,
    isRunning: running,
    convertMessage: converted,
    onNew: async (message) => store.answers.askNext(textOf(message)),
    onEdit: async (message) => {
      const edited = message.sourceId ?? "";
      if (store.state.thread.tree.get(edited)?.content !== textOf(message)) store.answers.edit(edited, textOf(message));
    },
  });
  return <AssistantRuntimeProvider runtime={runtime}>{children}</AssistantRuntimeProvider>;
}

/** The scrolling list: it follows a growing answer unless the reader has scrolled away. */
export function Messages({ children, draw }: { children: ReactNode; draw: (id: string) => ReactNode }) {
  const drawn = useMemo(() => ({ message }: { message: { id: string } }) => draw(message.id), [draw]);
  return (
    <ThreadPrimitive.Root className="thread">
      <ThreadPrimitive.Viewport className="viewport" tabIndex={-1}>
        <div className="column">
          <ThreadPrimitive.Messages>{drawn}</ThreadPrimitive.Messages>
        </div>
      </ThreadPrimitive.Viewport>
      {children}
    </ThreadPrimitive.Root>
  );
}

export const ToBottom = ThreadPrimitive.ScrollToBottom;
export const MessageRoot = MessagePrimitive.Root;
export const ComposerRoot = ComposerPrimitive.Root;
export const ComposerInput = ComposerPrimitive.Input;
export const ComposerSend = ComposerPrimitive.Send;
export const ComposerCancel = ComposerPrimitive.Cancel;

export const useComposerText = (): string => useAuiState((state) => state.composer.text);
export const useIsEditing = (): boolean => useAuiState((state) => state.message.composer.isEditing);

export function useBeginEdit(): () => void {
  const aui = useAui();
  return () => aui.message.composer().beginEdit();
}

export function useSetText(): (text: string) => void {
  const aui = useAui();
  return (text) => aui.thread.composer().setText(text);
}

/** A text that was not sent is there again when its conversation is opened again, as long as the page is open. */
export function useDraft(conversation: string): void {
  const aui = useAui();
  useEffect(() => {
    aui.thread.composer().setText(store.draft(conversation));
    return () => store.keepDraft(conversation, aui.thread.composer().getState().text);
  }, [aui, conversation]);
}
