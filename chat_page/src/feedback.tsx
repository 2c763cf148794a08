/** A rating is stored with the first click; comment, correction and consent are given in the dialog that follows. */

import { ThumbsDown, ThumbsUp } from "lucide-react";
import { useEffect, useId, useRef, useState } from "react";
import { Dialog, FaultLine, Icon, useAction } from "./controls";
import { t } from "./i18n";
import { faultOf, store } from "./store";
import type { Fault, Node } from "./tree";
import type { Feedback } from "./types";

export function FeedbackDialog({ node, value, onClose }: { node: Node; value: Feedback["value"]; onClose: () => void }) {
  const [given, setGiven] = useState<Feedback>(() => firstOf(node, value));
  const [stored, setStored] = useState(node.feedback?.value === value);
  const [rateFault, setRateFault] = useState<Fault | null>(null);
  const { working, fault, act } = useAction(onClose);
  const started = useRef(false);
  const name = useId();

  const rate = async () => {
    setRateFault(null);
    try {
      await store.giveFeedback(node.id, firstOf(node, value));
      setStored(true);
    } catch (error) {
      setRateFault(faultOf(error));
    }
  };
  useEffect(() => {
    if (stored || started.current) return;
    started.current = true;
    void rate();
  });

  const change = (part: Partial<Feedback>) => setGiven((before) => ({ ...before, ...part }));
  return (
    <Dialog title={t("feedback.title")} onClose={onClose} className="feedback">
      <form onSubmit={(event) => {
        event.preventDefault();
        void act(() => store.giveFeedback(node.id, given));
      }}>
        {rateFault ? <FaultLine fault={rateFault} onAction={rate} /> : <p className="note" role="status">{stored ? t("feedback.stored") : " "}</p>}
        <fieldset className="rating">
          <legend className="sr-only">{t("feedback.value")}</legend>
          {(["up", "down"] as const).map((each) => (
            <label key={each} className={given.value === each ? "chosen" : ""}>
              <input type="radio" name={name} data-first={given.value === each || undefined} checked={given.value === each} onChange={() => change({ value: each, consent: false })} />
              <Icon of={each === "up" ? ThumbsUp : ThumbsDown} size={16} />
              {t(`feedback.${each}`)}
            </label>
          ))}
        </fieldset>
        <label className="field">
          <span>{t("feedback.comment")} <small>({t("feedback.optional")})</small></span>
          <textarea rows={2} dir="auto" value={given.comment} placeholder={t("feedback.comment_hint")} onChange={(event) => change({ comment: event.target.value })} />
        </label>
        <label className="field">
          <span>{t("feedback.correction")} <small>({t("feedback.optional")})</small></span>
          <textarea rows={4} dir="auto" value={given.correction} onChange={(event) => change({ correction: event.target.value })} />
        </label>
        <label className="consent">
          <input type="checkbox" checked={given.consent} onChange={(event) => change({ consent: event.target.checked })} />
          <span>{t("feedback.consent")}</span>
        </label>
        {fault && <FaultLine fault={fault} />}
        <div className="dialog-buttons">
          <button type="button" className="button quiet start" disabled={working || !stored} onClick={() => act(() => store.withdrawFeedback(node.id))}>{t("feedback.withdraw")}</button>
          <button type="button" className="button" onClick={onClose}>{t("common.close")}</button>
          <button type="submit" className="button primary" disabled={working}>{t("common.save")}</button>
        </div>
      </form>
    </Dialog>
  );
}

/** Consent was given for one rating: another rating begins without it. */
function firstOf({ feedback }: Node, value: Feedback["value"]): Feedback {
  const { comment = "", correction = "", consent = false } = feedback ?? {};
  return { value, comment, correction, consent: feedback?.value === value ? consent : false };
}
