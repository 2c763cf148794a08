/** Where an answer comes from: what served it, from what it was made, and the most similar training examples. */

import { useEffect, useState } from "react";
import { api } from "./api";
import { Dialog, FaultLine } from "./controls";
import { number, t } from "./i18n";
import { visible } from "./markdown";
import { faultOf, useChat } from "./store";
import type { Fault } from "./tree";
import type { Served, Why } from "./types";

const FIELDS = ["model", "model_version", "deployment", "model_digest", "dataset_digest", "dagster_run", "answer_id"] as const satisfies (keyof Served)[];

export function WhyDialog({ message, onClose }: { message: string; onClose: () => void }) {
  const conversation = useChat((state) => state.thread.id);
  const [why, setWhy] = useState<Why | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let open = true;
    setFault(null);
    api.why(conversation, message).then(
      (found) => open && setWhy(found),
      (error) => open && setFault(faultOf(error)),
    );
    return () => {
      open = false;
    };
  }, [conversation, message, tries]);
  return (
    <Dialog title={t("why.title")} onClose={onClose} className="side">
      {fault && <FaultLine fault={fault} onAction={() => setTries(tries + 1)} />}
      {!why && !fault && <p className="note" role="status">{t("app.loading")}</p>}
      {why && (
        <>
          {why.note && <p className="note" dir="auto">{why.note}</p>}
          <h3>{t("why.nearest")}</h3>
          {why.nearest.length === 0 && <p className="note">{t("why.no_nearest")}</p>}
          <ol className="nearest">
            {why.nearest.map(({ source, similarity, text, reviewed }) => (
              <li key={source}>
                <div className="nearest-head">
                  <bdi className="mono">{source}</bdi>
                  <span>{t("why.similarity", { percent: number(similarity, { style: "percent" }) })}</span>
                </div>
                <meter min={0} max={1} value={similarity} aria-hidden="true" />
                {text && <p dir="auto">{visible(text)}</p>}
                {reviewed && <p className="note">{t("why.reviewed")}</p>}
              </li>
            ))}
          </ol>
          {why.facts.length > 0 && <h3>{t("why.facts")}</h3>}
          <dl className="facts">
            {why.facts.map(({ name, value, note }) => <Fact key={name} name={name} value={value} note={note} />)}
          </dl>
          <h3>{t("why.served")}</h3>
          <dl className="facts">
            {FIELDS.filter((field) => why.served[field]).map((field) => <Fact key={field} name={t(`why.${field}`)} value={why.served[field]} note="" />)}
          </dl>
        </>
      )}
    </Dialog>
  );
}

function Fact({ name, value, note }: { name: string; value: string; note: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd dir="auto">{visible(value)}{note && <small>{note}</small>}</dd>
    </div>
  );
}
