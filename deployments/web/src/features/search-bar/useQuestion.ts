// The query while it is written: what stands in the editor, what is wrong with what was run, and running it.
import type { CompletionSource } from '@codemirror/autocomplete'
import type { EditorView } from '@codemirror/view'
import { type RefObject, useEffect, useId, useMemo, useRef, useState } from 'react'

import type { Problem } from '../../api/http'
import { completionSource } from '../../query/completion'
import { toUtf16 } from '../../query/position'
import type { View } from '../../view/view'
import type { QueryError } from './editor'
import { addToHistory } from './history'
import { useLookup } from './useLookup'

export interface Question {
  draft: string
  setDraft: (draft: string) => void
  /** The draft is what was run last. */
  isRun: boolean
  /** Why the server refused what was run last; `position` where it told one. */
  error: QueryError | null
  errorId: string
  completion: CompletionSource
  editor: RefObject<EditorView | null>
  /** Run what is given, or the draft; the same query again, if it is that. */
  run: (query?: string) => void
}

export function useQuestion(
  view: View,
  problem: Problem | null,
  onChange: (part: Partial<View>) => void,
  onAgain: () => void,
): Question {
  const [draft, setDraft] = useState(view.query)
  useEffect(() => setDraft(view.query), [view.query])
  const editor = useRef<EditorView | null>(null)
  const errorId = useId()
  const lookup = useLookup(view)
  const completion = useMemo(() => completionSource(lookup), [lookup])
  const error = useMemo(() => {
    if (problem?.status !== 400) return null
    const position = problem.position === undefined ? null : toUtf16(view.query, problem.position)
    return { message: problem.message, position }
  }, [problem, view.query])
  const run = (query = draft) => {
    addToHistory(query)
    if (query === view.query) onAgain()
    else onChange({ query })
  }
  return { draft, setDraft, isRun: draft === view.query, error, errorId, completion, editor, run }
}
