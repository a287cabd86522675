// What the HTTP interface says, member by member.

export type Executor = 'ray' | 'lambda' | 'auto'
export type Order = 'newest' | 'oldest'

/** A time as the interface takes it: RFC 3339, epoch, or relative (`-15m`). */
export type TimeText = string

/** What an attribute is: of the type that it was pushed with; an integer beyond 2^53 is its digits, an array its JSON. */
export type AttributeValue = string | number | boolean | null

/** One stored event. `log_id`, `vnode`, `offset` and `row` are its identity. */
export interface LogEvent {
  timestamp: string
  observed_timestamp: string | null
  level: string | null
  severity_number: number | null
  service: string | null
  host: string | null
  message: string
  trace_id: string | null
  span_id: string | null
  attributes: Record<string, AttributeValue>
  id: string | null
  log_id: string
  vnode: number
  offset: number
  row: number
}

export type RunState = 'queued' | 'running' | 'done' | 'truncated' | 'failed' | 'cancelled'

/** Whether there is more to come. */
export function isUnderWay(state: RunState): boolean {
  return state === 'queued' || state === 'running'
}

export interface Progress {
  objects_total: number
  objects_pruned: number
  objects_done: number
  objects_failed: number
  bytes_total: number
  bytes_read: number
  gets?: number
  rows_matched: number
  duplicates_suppressed: number
  in_flight_rows: number
  invocations?: number
  gb_seconds?: number
  estimated_cost_usd?: number
  /** Newest first: nothing from here on can be added any more. Oldest first: nothing up to here. */
  complete_from: string | null
}

/** Something to know of an answer without rows, or to try. */
export interface Hint {
  kind: string
  text: string
  /** To ask instead; null: as it is. */
  query: string | null
  /** To look from there on, without an end; null: the range as it is. */
  start: string | null
}

/** Where a search or an aggregation stands. */
export interface AnswerState {
  id: string
  state: RunState
  progress: Progress
  complete: boolean
  incomplete: string[]
  /** Of what is done and has found nothing; else empty. */
  hints: Hint[]
  /** While it is queued: how many searches wait until it runs, itself among them. */
  position?: number
  elapsed_ms: number
}

export interface AnswerPage extends AnswerState {
  events: LogEvent[]
  cursor: string
}

/** What is looked at: shared by searches, aggregations and plans. */
export interface Scope {
  query: string
  start: TimeText
  /** Absent: no upper bound. */
  end?: TimeText
  executor: Executor
}

export interface QueryBody extends Scope {
  limit: number
  order: Order
}

export interface AggregationBody extends Scope {
  interval: string | null
  by: string[]
  top: number
}

export interface Bucket {
  start: string | null
  by: Record<string, string | null>
  count: number
  /** The groups beyond `top`, together. */
  other?: boolean
}

export interface AggregationState extends AnswerState {
  buckets: Bucket[]
  interval_s: number | null
}

/** What is asked of a query with stages behind it. */
export interface PipeBody extends Scope {
  /** By whose clock days begin. */
  time_zone?: string
}

export type Cell = string | number | boolean | number[] | null

export interface Column {
  name: string
  type: 'time' | 'text' | 'number' | 'boolean' | 'numbers'
}

/** A table. Before anything is counted there is none. */
export interface PipeState extends AnswerState {
  columns?: Column[]
  rows?: Cell[][]
  rows_total?: number
}

export interface Created {
  id: string
  state: RunState
}

/** What starting something is answered with: its first page, or, where the server does not wait, its id. */
export type Begun = Created | AnswerPage

export interface FieldCount {
  name: string
  kind: 'column' | 'attribute'
  count: number
}

/** `rows`: how many events these counts were taken from. */
export interface FieldsAnswer {
  fields: FieldCount[]
  rows: number
  complete: boolean
  incomplete: string[]
}

export interface ValuesAnswer {
  field: string
  values: { value: string; count: number }[]
  /** How many different values there are; null: more than the server can hold. */
  distinct: number | null
  rows: number
  complete: boolean
  incomplete: string[]
}
