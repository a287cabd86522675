// In the place of an answer: no key was shown, or one that may not do this. Leads to another one.
import type { ReactNode } from 'react'

import { isRefused, type Problem } from '../../api/http'
import { wantKey } from '../../api/key'
import { Button } from '../../ui/Button'
import { Notice } from '../../ui/Notice'

interface KeyNoticeProps {
  problem: Problem
  /** What the key may not do: `search`. */
  action: string
  /** Those of a key that is of use here; the first is what is needed. */
  scopes: readonly [string, ...string[]]
  /** More of a key that lacks the scope. */
  children?: ReactNode
}

/** Nothing, unless `problem` is about the key. */
export function KeyNotice({ problem, action, scopes, children }: KeyNoticeProps) {
  if (!isRefused(problem)) return null
  const command = ['ess keys create', ...scopes.map((scope) => `--scope ${scope}`)].join(' ')
  return (
    <Notice kind="bad">
      <p>
        {problem.status === 401 ? (
          <>This system wants a key. It needs the scope “{scopes[0]}” for this page.</>
        ) : (
          <>
            The key of this tab may not {action}: it needs the scope “{scopes[0]}”. {children}
          </>
        )}{' '}
        <code>{command}</code> makes one.
      </p>
      <Button onClick={() => wantKey(true)}>Enter a key</Button>
    </Notice>
  )
}
