/** What may be in `data`: JSON as it was sent, a text, or bytes in base64. */
export type Data = unknown;

export interface Message<D = Data> {
  channel: string;
  epoch: string;
  /** Position in the whole router; with `epoch` a cursor: `${epoch}-${seq}`. */
  seq: number;
  /** Position in its channel: 1, 2, 3 ... without holes. */
  offset: number;
  /** Unix milliseconds, UTC. */
  ts: number;
  from?: string;
  /** Of an event of a match: "goal", "card" ... */
  kind?: string;
  key?: string;
  replay?: true;
  data: D;
}

export type GapReason =
  "trimmed" | "epoch" | "future" | "slow" | "conflated" | "damaged" | "volatile";

/** How a subscription begins when it has no cursor, or cannot go on from it. */
export interface SnapshotNotice {
  notice: "snapshot";
  channel?: string;
  channels?: string[];
  cursor: string;
  /** Of a match, a team or a room; null for plain channels, absent for several. */
  state?: unknown;
}

/** Nothing was missed. */
export interface ResumedNotice {
  notice: "resumed";
  channel?: string;
  channels?: string[];
  cursor: string;
}

/** Messages of this channel are missing here. */
export interface GapNotice {
  notice: "gap";
  channel: string;
  /** Offsets, inclusive; null when unknown. */
  from: number | null;
  to: number | null;
  count: number | null;
  why: GapReason;
  cursor?: string;
}

export interface PresenceNotice {
  notice: "join" | "leave";
  channel: string;
  cursor: string;
  /** How many came or went. */
  count: number;
  /** Connections that are there now. */
  present: number;
  names: string[];
}

/** The gateway goes down; the subscription comes back by itself. */
export interface ClosingNotice {
  notice: "closing";
  cursor?: string;
  why?: string;
  retry_ms?: number;
}

export type Notice =
  SnapshotNotice | ResumedNotice | GapNotice | PresenceNotice | ClosingNotice;

export interface Failure {
  code: string;
  text: string;
}

export type Transport = "ws" | "sse" | "poll";

export interface State {
  state: "connecting" | "catching-up" | "live" | "waiting" | "failed" | "closed";
  transport?: Transport;
  /** connecting, catching-up: the cursor that was asked for, or "". */
  since?: string;
  /** waiting: milliseconds until the next try. */
  retryIn?: number;
  /** waiting, failed: why. */
  error?: Failure | null;
}

/** Of the platform, or what looks like it: `ws` of npm. */
export type WebSocketMaker = new (url: string) => unknown;

export interface Connecting {
  /** In place of the platform's own. */
  fetch?: typeof fetch;
}

export interface SubscribeOptions<D = Data> extends Connecting {
  onmessage?: (message: Message<D>) => void;
  onnotice?: (notice: Notice) => void;
  onstate?: (state: State) => void;
  /** A cursor to go on from; "0": everything kept. Without: what comes. */
  since?: string;
  /** Who we are to a room. */
  name?: string;
  /** Only this one; else the first that works of ws, sse, poll. */
  transport?: Transport;
  /** Where the platform has none (node before 22); else sse is used there. */
  WebSocket?: WebSocketMaker;
}

export interface Subscription {
  close(): void;
  /** Where a later subscription may go on; "" before there is one. */
  readonly cursor: string;
  readonly state: State;
}

/**
 * Messages in one order over all channels, each once, over reconnects and
 * changes of transport, until close() or state "failed". What could not be kept
 * is told by a gap in front of the next message.
 *
 * @param url base of the HTTP gateway; "" is the page's own origin
 * @param channels ids or patterns: "room/lobby", "match/*"
 * @throws TypeError for a transport that there is not
 */
export function subscribe<D = Data>(
  url: string, channels: string | readonly string[], options?: SubscribeOptions<D>,
): Subscription;

export interface RequestOptions extends Connecting {
  /** Milliseconds for all tries together, default 30,000. */
  give_up?: number;
}

export interface PublishOptions extends RequestOptions {
  from?: string;
  /** Conflation key. */
  key?: string;
  token?: string;
  /** Idempotency-Key; without it each call has its own. */
  idempotency?: string;
}

export interface Published {
  channel: string;
  epoch: string;
  seq: number;
  offset: number;
  /** Connections that it went to; no receipt. */
  reached: number;
  /** It had been stored before, under the same key. */
  duplicate?: true;
}

/** What the promises reject with. */
export interface RequestError extends Error {
  /** As in docs/protocol.md: "publish.denied"; "net" without an answer. */
  code: string;
  /** HTTP status, 0 without an answer. */
  status: number;
}

/**
 * Strings are sent as text, ArrayBuffers, views and Blobs as bytes, all else as
 * JSON. Tried until it is answered, refused or given up, and stored once.
 */
export function publish(
  url: string, channel: string, data: unknown, options?: PublishOptions,
): Promise<Published>;

export interface HistoryOptions extends RequestOptions {
  /** The newest so many. */
  last?: number;
  /** From this cursor on. */
  since?: string;
  /** The newest in front of this cursor. */
  before?: string;
  /** With since and before; default 100, at most 1,000. */
  limit?: number;
}

export interface HistoryPage<D = Data> {
  cursor: string;
  /** Oldest first; a hole is a gap among them. */
  messages: (Message<D> | GapNotice)[];
  /** There is more in that direction. */
  more: boolean;
}

export function history<D = Data>(
  url: string, channel: string, options?: HistoryOptions,
): Promise<HistoryPage<D>>;

export interface Presence {
  /** Connections, exactly. */
  count: number;
  /** At most 1,000; who gave no name is "anon". */
  names: { name: string; connections: number }[];
}

export function presence(
  url: string, channel: string, options?: RequestOptions,
): Promise<Presence>;
