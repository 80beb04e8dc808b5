/** An ioredis client or cluster of the caller's; it keeps its own timeouts. */
export interface Client {
  call(command: string, ...values: (string | number | Buffer)[]): Promise<unknown>
}

export interface Mail {
  /** One plain address. */
  to: string
  subject: string
  /** At least one of `text` and `html`. */
  text?: string
  html?: string
  /** Left out: the worker's configured sender. */
  sender?: string
  senderName?: string
  replyTo?: string
  urgency?: 'urgent' | 'normal' | 'bulk'
  /** Policies depend on it; left out: `transactional`. `bulk` needs `unsubscribe`. */
  stream?: string
  account?: string
  /** An https address that accepts a POST (RFC 8058). */
  unsubscribe?: string
}

export interface Job {
  /** Name of a job kind of your own, `noun.verb`. */
  kind: string
  payload?: Record<string, unknown>
  /** A lane of its own, `invoices`; left out: `jobs`. */
  lane?: string
  /** Version of the payload's shape, from 1. */
  version?: number
}

export interface SendOptions {
  /** Identifies this piece of work for seven days: sending it again queues nothing. */
  key?: string | null
  delayMs?: number
  at?: Date | null
  /** Time from now after which the job is not worth running. */
  expiresMs?: number | null
  /** Key of a limit that the job counts against, like `customer:42`. */
  limit?: string | null
  /** Context of the current span (W3C Trace Context); what has another form is left out. */
  traceparent?: string
  tracestate?: string
}

export interface Receipt {
  id: string
  kind: string
  lane: string
  state: 'queued' | 'duplicate'
}

export interface JobResult {
  state: 'pending' | 'done' | 'suppressed' | 'expired' | 'dead' | 'unknown'
  value: unknown
  reason: string
}

/** Queues jobs. It buffers and repeats nothing: when a call returns, Redis has the job; otherwise it throws. */
export class Producer {
  /**
   * @param address `redis://`, `rediss://`, or an ioredis client or cluster.
   * @throws InvalidRequest an address of another form.
   */
  constructor(address: string | Client, options?: { budgetMs?: number; tenant?: string })
  /** @throws InvalidRequest, KeyConflict, NotEnqueued */
  sendMail(mail: Mail, options?: SendOptions): Promise<Receipt>
  /** @throws InvalidRequest, KeyConflict, NotEnqueued */
  send(job: Job, options?: SendOptions): Promise<Receipt>
  /** A thousand per round trip; of one lane and thousand all or none. */
  sendMany(messages: (Mail | Job)[], options?: Omit<SendOptions, 'key'> & { keys?: string[] }): Promise<Receipt[]>
  /** Requests the recompute of a report whose data changed. */
  refresh(
    report: string,
    options?: { scope?: number | null; traceparent?: string; tracestate?: string },
  ): Promise<Receipt>
  cancel(id: string): Promise<'cancelled' | 'stopping' | 'unknown'>
  result(id: string): Promise<JobResult>
  close(): Promise<void>
}

export interface Session<Data = Record<string, unknown>> {
  user: string
  label: string
  version: number
  data: Data
  createdAt: Date
  endsAt: Date
  touchedAt: Date
  idleMs: number
  /** Where it is kept; without the token. */
  place: { tag: string; prefix: string; digest: string; session: string }
}

/** Sessions shared with backends in other languages. Every call returns or throws within the deadline. */
export class Sessions {
  constructor(address: string | Client, options?: { deadlineMs?: number })
  create(
    user: string,
    data?: Record<string, unknown>,
    options?: { label?: string; idleMs?: number; absoluteMs?: number; cap?: number },
  ): Promise<{ token: string; session: Session }>
  /** null: it has ended or never existed. */
  load(token: string): Promise<Session | null>
  /** @throws SessionConflict, SessionGone, SessionsUnavailable */
  save(session: Session, data: Record<string, unknown>): Promise<Session>
  /** null: another request has just done it; respond without a new cookie. */
  rotate(token: string, options?: { graceMs?: number }): Promise<{ token: string; session: Session } | null>
  revoke(token: string): Promise<boolean>
  revokeUser(user: string): Promise<void>
  close(): Promise<void>
}

export class MomentusError extends Error {}
export class InvalidRequest extends MomentusError {
  readonly field: string
}
export class KeyConflict extends MomentusError {
  readonly knownId: string
}
export class NotEnqueued extends MomentusError {}
export class SessionsUnavailable extends MomentusError {}
export class SessionConflict extends MomentusError {
  readonly current: Session
}
export class SessionGone extends MomentusError {}
