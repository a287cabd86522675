// A page of what is asked every few seconds, marked as old when the answers stop coming.
import type { ReactNode } from 'react'

import { isRefused, type Problem } from '../../api/http'
import type { Polled } from '../../api/polled'
import { formatDuration } from '../../ui/format'
import { Empty, Notice } from '../../ui/Notice'
import { KeyNotice } from '../key/KeyNotice'
import styles from './PolledPage.module.css'

/** What a key needs that was refused: see `KeyNotice`. */
interface Wanted {
  action: string
  scopes: readonly [string, ...string[]]
  more?: string
}

interface PolledPageProps<T> {
  title: string
  asked: Polled<T>
  wanted: Wanted
  /** Beside the title. */
  tools?: ReactNode
  children: (data: T) => ReactNode
}

export function PolledPage<T>({ title, asked, wanted, tools, children }: PolledPageProps<T>) {
  const { data, problem, isOld, ageMs, everyMs } = asked
  return (
    <div className={styles.page}>
      <div className={styles.top}>
        <h1>{title}</h1>
        {data !== undefined && (
          <p className={isOld ? styles.old : styles.fresh}>
            {isOld ? `Stale: as it was ${formatDuration(ageMs)} ago` : `Asked every ${everyMs / 1_000} s`}
          </p>
        )}
        {tools}
      </div>
      {problem && <Refused problem={problem} wanted={wanted} everyMs={everyMs} hasData={data !== undefined} />}
      {asked.isPending && <Empty title="Asking …" />}
      {data !== undefined && <div className={isOld ? styles.stale : undefined}>{children(data)}</div>}
    </div>
  )
}

interface RefusedProps {
  problem: Problem
  wanted: Wanted
  everyMs: number
  hasData: boolean
}

function Refused({ problem, wanted, everyMs, hasData }: RefusedProps) {
  if (isRefused(problem)) {
    return (
      <KeyNotice problem={problem} action={wanted.action} scopes={wanted.scopes}>
        {wanted.more}
      </KeyNotice>
    )
  }
  return (
    <Notice kind="bad">
      <strong>{problem.title}.</strong> {problem.detail} It is asked again every {everyMs / 1_000} s
      {hasData ? '; below is what it said last.' : '.'}
    </Notice>
  )
}
