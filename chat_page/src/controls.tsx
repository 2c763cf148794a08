/** Buttons, dialogs and error lines, used everywhere. */

import { Check, Copy, RefreshCw, TriangleAlert, X, type LucideIcon } from "lucide-react";
import { useEffect, useId, useRef, useState, type ReactNode } from "react";
import { has, language, t } from "./i18n";
import { faultOf } from "./store";
import type { Fault } from "./tree";

export function Icon({ of: Drawn, size = 18 }: { of: LucideIcon; size?: number }) {
  return <Drawn size={size} strokeWidth={1.75} aria-hidden="true" focusable="false" />;
}

export const COMPOSER = "message";

export const focusComposer = (): void => document.getElementById(COMPOSER)?.focus();

/** Focuses the first of these once it is drawn: what had the focus is gone by then. */
export function focusNext(...selectors: string[]): void {
  const look = (frames: number) => {
    const found = selectors.map((each) => document.querySelector<HTMLElement>(each)).find(Boolean);
    if (found) found.focus();
    else if (frames) requestAnimationFrame(() => look(frames - 1));
    else focusComposer();
  };
  requestAnimationFrame(() => look(10));
}

interface IconButtonProps {
  icon: LucideIcon;
  label: string;
  onClick: () => void;
  pressed?: boolean;
  disabled?: boolean;
  className?: string;
  /** Where the focus may be sent: see `focusNext`. */
  place?: string;
}

export function IconButton({ icon, label, onClick, pressed, disabled, className = "", place }: IconButtonProps) {
  return (
    <button type="button" data-place={place} className={`icon-button ${className}`} aria-label={label} title={label} aria-pressed={pressed} disabled={disabled} onClick={onClick}>
      <Icon of={icon} />
    </button>
  );
}

export function CopyButton({ text, label, className = "" }: { text: string; label: string; className?: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = window.setTimeout(() => setCopied(false), 2000);
    return () => window.clearTimeout(timer);
  }, [copied]);
  const copy = () => navigator.clipboard?.writeText(text).then(() => setCopied(true), () => setCopied(false));
  return (
    <button type="button" className={`icon-button ${className}`} aria-label={label} title={copied ? t("common.copied") : label} onClick={copy}>
      <Icon of={copied ? Check : Copy} />
      <span className="sr-only" aria-live="polite">{copied ? t("common.copied") : ""}</span>
    </button>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ReactNode;
  className?: string;
}

/** A modal dialog of the browser's own: it keeps the focus inside, closes on Escape, and gives the focus back. */
export function Dialog({ title, onClose, children, className = "" }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const opened = document.activeElement;
    dialog.current?.showModal();
    dialog.current?.querySelector<HTMLElement>("[data-first]")?.focus();
    return () => {
      if (opened instanceof HTMLElement && opened.isConnected) opened.focus();
      else focusComposer();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      className={`dialog ${className}`}
      aria-labelledby={heading}
      onClose={onClose}
      onMouseDown={(event) => event.target === dialog.current && dialog.current.close()}
    >
      <div className="dialog-body">
        <header className="dialog-head">
          <h2 id={heading}>{title}</h2>
          <IconButton icon={X} label={t("common.close")} onClick={() => dialog.current?.close()} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** A dialog that asks before something is done that cannot be undone. */
export function Confirm({ title, text, action, onConfirm, onClose }: { title: string; text: string; action: string; onConfirm: () => Promise<void>; onClose: () => void }) {
  const { working, fault, act } = useAction(onClose);
  return (
    <Dialog title={title} onClose={onClose} className="small">
      <p dir="auto">{text}</p>
      {fault && <FaultLine fault={fault} />}
      <div className="dialog-buttons">
        <button type="button" className="button" data-first onClick={onClose}>{t("common.cancel")}</button>
        <button type="button" className="button danger" disabled={working} onClick={() => act(onConfirm)}>{action}</button>
      </div>
    </Dialog>
  );
}

/** Runs what a dialog's button does; a fault stays in the dialog. */
export function useAction(onDone: () => void) {
  const [working, setWorking] = useState(false);
  const [fault, setFault] = useState<Fault | null>(null);
  const act = async (action: () => Promise<void>) => {
    setWorking(true);
    setFault(null);
    try {
      await action();
      onDone();
    } catch (error) {
      setFault(faultOf(error));
    } finally {
      setWorking(false);
    }
  };
  return { working, fault, act };
}

/** A fault in a sentence. The server's sentences are English; other languages have their own for each code. */
export function sentence({ code, text, retryAfter }: Fault): string {
  const key = `error.${code}`;
  const said = text && (language() === "en" || !has(key)) ? text : has(key) ? t(key) : text || t("error.server");
  return retryAfter ? `${said} ${t("error.wait", { seconds: Math.ceil(retryAfter) })}` : said;
}

interface FaultLineProps {
  fault: Fault;
  action?: string;
  onAction?: () => void;
}

export function FaultLine({ fault, action, onAction }: FaultLineProps) {
  return (
    <div className="fault" role="alert">
      <Icon of={TriangleAlert} />
      <span dir="auto">{sentence(fault)}</span>
      {fault.code === "signed_out" && <a className="button" href="/" target="_blank" rel="noopener">{t("error.sign_in")}</a>}
      {onAction && (
        <button type="button" className="button" onClick={onAction}>
          <Icon of={RefreshCw} size={15} />
          {action ?? t("common.retry")}
        </button>
      )}
    </div>
  );
}
