/** Language, appearance, and what a person can do with all conversations. */

import { Download, LogOut, Trash2 } from "lucide-react";
import { useState } from "react";
import { Confirm, Dialog, Icon } from "./controls";
import { chooseLanguage, language, languages, t } from "./i18n";
import { store, useChat } from "./store";
import { chooseTheme, THEMES, useTheme } from "./theme";

export function SettingsDialog({ onClose }: { onClose: () => void }) {
  const me = useChat((state) => state.me);
  const [deleting, setDeleting] = useState(false);
  const shown = useTheme();
  const [failed, setFailed] = useState(false);
  return (
    <Dialog title={t("settings.title")} onClose={onClose} className="settings">
      {me?.name && <p className="note" dir="auto">{t("settings.signed_in", { name: me.name })}</p>}
      <label className="field">
        <span>{t("settings.language")}</span>
        <select data-first value={language()} onChange={(event) => void chooseLanguage(event.target.value).then(() => setFailed(false), () => setFailed(true))}>
          {languages().map(([tag, name]) => <option key={tag} value={tag} lang={tag}>{name}</option>)}
        </select>
        {failed && <span className="composer-error" role="alert">{t("app.language_failed")}</span>}
      </label>
      <fieldset className="field">
        <legend>{t("settings.theme")}</legend>
        <div className="segments">
          {THEMES.map((each) => (
            <label key={each} className={shown === each ? "chosen" : ""}>
              <input type="radio" name="theme" checked={shown === each} onChange={() => chooseTheme(each)} />
              {t(`settings.theme.${each}`)}
            </label>
          ))}
        </div>
      </fieldset>
      <section className="field">
        <h3>{t("settings.data")}</h3>
        {me && <p className="note">{me.keep_days ? t("settings.keep", { days: me.keep_days }) : t("settings.keep_forever")}</p>}
        <div className="field-buttons">
          <a className="button" href="/api/export" download><Icon of={Download} size={16} />{t("settings.export")}</a>
          <button type="button" className="button danger-text" onClick={() => setDeleting(true)}><Icon of={Trash2} size={16} />{t("settings.delete_all")}</button>
        </div>
        <p className="note">{t("settings.export_note")}</p>
      </section>
      <div className="dialog-buttons">
        <a className="link-button start" href="/LICENSES.txt" target="_blank" rel="noopener">{t("settings.licenses")}</a>
        {me?.sign_out && <a className="button" href={me.sign_out}><Icon of={LogOut} size={16} />{t("settings.sign_out")}</a>}
      </div>
      {deleting && (
        <Confirm title={t("delete_all.title")} text={t("delete_all.text")} action={t("delete_all.confirm")} onConfirm={() => store.removeAll()} onClose={() => setDeleting(false)} />
      )}
    </Dialog>
  );
}
