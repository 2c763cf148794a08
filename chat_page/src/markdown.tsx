/**
 * Draws a model's Markdown. Only what `block` and `inline` name is drawn: HTML stays text, an image is its source text, and
 * a link is a link only to http and https, with its address shown.
 */

import { Component, memo, type ReactNode } from "react";
import type { Nodes, PhrasingContent, RootContent, Table } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmAutolinkLiteralFromMarkdown } from "mdast-util-gfm-autolink-literal";
import { gfmStrikethroughFromMarkdown } from "mdast-util-gfm-strikethrough";
import { gfmTableFromMarkdown } from "mdast-util-gfm-table";
import { gfmTaskListItemFromMarkdown } from "mdast-util-gfm-task-list-item";
import { gfmAutolinkLiteral } from "micromark-extension-gfm-autolink-literal";
import { gfmStrikethrough } from "micromark-extension-gfm-strikethrough";
import { gfmTable } from "micromark-extension-gfm-table";
import { gfmTaskListItem } from "micromark-extension-gfm-task-list-item";
import { CopyButton } from "./controls";
import { t } from "./i18n";

const SYNTAX = {
  extensions: [gfmTable(), gfmStrikethrough(), gfmAutolinkLiteral(), gfmTaskListItem()],
  mdastExtensions: [
    gfmTableFromMarkdown(),
    gfmStrikethroughFromMarkdown(),
    gfmAutolinkLiteralFromMarkdown(),
    gfmTaskListItemFromMarkdown(),
  ],
};
/** Above these lie the page's, the conversation's and the message's headings. */
const FIRST_HEADING = 4;

/** Overriding the direction of letters can show another address than a link has: the marks are named instead. */
export function visible(text: string): string {
  return text.replace(/[\u202d\u202e]/g, (mark) => `[U+${mark.codePointAt(0)?.toString(16).toUpperCase()}]`);
}

/** Markdown that cannot be drawn, such as ten thousand nested quotes, is shown as it was written. */
export class Markdown extends Component<{ text: string }, { failed: string | null }> {
  override state: { failed: string | null } = { failed: null };

  static getDerivedStateFromError(): { failed: string } {
    return { failed: "" };
  }

  override componentDidCatch(): void {
    this.setState({ failed: this.props.text });
  }

  override render(): ReactNode {
    const { text } = this.props;
    const { failed } = this.state;
    // A growing text is tried again when it has changed.
    if (failed === null || (failed && failed !== text)) return <Drawn text={text} />;
    return <div className="markdown raw" dir="auto">{visible(text)}</div>;
  }
}

const Drawn = memo(function Drawn({ text: written }: { text: string }) {
  const text = visible(written);
  const { children } = fromMarkdown(text, SYNTAX);
  const links = new Map<string, string>();
  for (const node of children) if (node.type === "definition") links.set(node.identifier, node.url);
  const levels = headingLevels(children);
  const context = { links, levels, text };
  const addresses = [...links].join(" ");
  return (
    <div className="markdown" dir="auto">
      {children.map((node, place) => (
        <Block key={place} node={node} context={context} known={`${levels.get(node) ?? ""} ${addresses} ${source(node, context)}`} />
      ))}
    </div>
  );
});

/** While an answer grows, only its last blocks change: the others are not drawn again. */
const Block = memo(
  ({ node, context }: { node: RootContent; context: Context; known: string }) => block(node, 0, context),
  (before, after) => before.known === after.known,
);

interface Context {
  links: Map<string, string>;
  levels: Map<Nodes, number>;
  text: string;
}

/** A model's headings begin anywhere and leave levels out; a page's must not. */
function headingLevels(nodes: RootContent[]): Map<Nodes, number> {
  const levels = new Map<Nodes, number>();
  let last = FIRST_HEADING - 1;
  const headings = nodes.filter((node) => node.type === "heading");
  const top = Math.min(...headings.map(({ depth }) => depth));
  for (const heading of headings) {
    last = Math.min(6, last + 1, FIRST_HEADING + heading.depth - top);
    levels.set(heading, last);
  }
  return levels;
}

function block(node: RootContent, key: number, context: Context): ReactNode {
  const blocks = (children: RootContent[]) => children.map((child, place) => block(child, place, context));
  const inlines = (children: PhrasingContent[]) => children.map((child, place) => inline(child, place, context));
  switch (node.type) {
    case "paragraph":
      return <p key={key} dir="auto">{inlines(node.children)}</p>;
    case "heading": {
      const Heading = `h${context.levels.get(node) ?? 6}` as "h4";
      return <Heading key={key} dir="auto" className={`depth-${node.depth}`}>{inlines(node.children)}</Heading>;
    }
    case "blockquote":
      return <blockquote key={key} dir="auto">{blocks(node.children)}</blockquote>;
    case "list": {
      const items = node.children.map((item, place) => (
        <li key={place} dir="auto" className={item.checked == null ? undefined : "task"}>
          {item.checked != null && <span className="box" role="img" aria-label={item.checked ? "✓" : "–"} data-checked={item.checked} />}
          {item.children.map((child, at) =>
            child.type === "paragraph" && !item.spread ? <span key={at} className="tight">{inlines(child.children)}</span> : block(child, at, context),
          )}
        </li>
      ));
      return node.ordered ? <ol key={key} start={node.start ?? 1}>{items}</ol> : <ul key={key}>{items}</ul>;
    }
    case "code":
      return <Code key={key} text={node.value} language={node.lang ?? ""} />;
    case "thematicBreak":
      return <hr key={key} />;
    case "table":
      return <TableOf key={key} node={node} context={context} />;
    case "html":
      return <p key={key} dir="auto" className="raw">{node.value}</p>;
    case "definition":
      return null;
    default:
      return inline(node as PhrasingContent, key, context);
  }
}

function inline(node: PhrasingContent, key: number, context: Context): ReactNode {
  const inlines = (children: PhrasingContent[]) => children.map((child, place) => inline(child, place, context));
  switch (node.type) {
    case "text":
      return node.value;
    case "emphasis":
      return <em key={key}>{inlines(node.children)}</em>;
    case "strong":
      return <strong key={key}>{inlines(node.children)}</strong>;
    case "delete":
      return <del key={key}>{inlines(node.children)}</del>;
    case "inlineCode":
      return <code key={key} dir="auto">{node.value}</code>;
    case "break":
      return <br key={key} />;
    case "link":
      return <Link key={key} address={node.url} text={plain(node.children)}>{inlines(node.children)}</Link>;
    case "linkReference": {
      const address = context.links.get(node.identifier);
      return address === undefined ? source(node, context) : <Link key={key} address={address} text={plain(node.children)}>{inlines(node.children)}</Link>;
    }
    case "html":
      return node.value;
    default: // an image, and whatever an extension may bring
      return source(node, context);
  }
}

/** What the model wrote, as text. */
function source(node: Nodes, { text }: Context): string {
  return text.slice(node.position?.start.offset ?? 0, node.position?.end.offset ?? 0);
}

function plain(nodes: PhrasingContent[]): string {
  return nodes.map((node) => ("value" in node ? node.value : "children" in node ? plain(node.children) : "")).join("");
}

function Link({ address, text, children }: { address: string; text: string; children: ReactNode }) {
  let url: URL | null = null;
  try {
    url = new URL(address);
  } catch {
    // a relative address, which would lead to the page's own server
  }
  const same = text === address || text === url?.href || `http://${text}` === address;
  if (!url || !["http:", "https:"].includes(url.protocol) || url.username || url.password) {
    return same ? children : <>{children} <bdi className="address">({address})</bdi></>;
  }
  return (
    <a href={url.href} target="_blank" rel="noopener noreferrer nofollow" referrerPolicy="no-referrer">
      {same ? <bdi>{url.href}</bdi> : <>{children} <bdi className="address">({url.href})</bdi></>}
    </a>
  );
}

function Code({ text, language }: { text: string; language: string }) {
  return (
    <div className="code" dir="ltr">
      <div className="code-head">
        <span>{language}</span>
        <CopyButton text={text} label={t("message.copy_code")} />
      </div>
      <pre tabIndex={0}><code>{text}</code></pre>
    </div>
  );
}

function TableOf({ node, context }: { node: Table; context: Context }) {
  const [head, ...rows] = node.children;
  const cells = (row: Table["children"][number], Cell: "th" | "td") =>
    row.children.map((cell, place) => (
      <Cell key={place} dir="auto" className={node.align?.[place] ? `align-${node.align[place]}` : undefined}>
        {cell.children.map((child, at) => inline(child, at, context))}
      </Cell>
    ));
  return (
    <div className="table" tabIndex={0} role="group">
      <table>
        {head && <thead><tr>{cells(head, "th")}</tr></thead>}
        <tbody>{rows.map((row, place) => <tr key={place}>{cells(row, "td")}</tr>)}</tbody>
      </table>
    </div>
  );
}
