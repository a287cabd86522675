// What is followed, and whether: query, pause, stop.
import type { EditorView } from '@codemirror/view'
import { useEffect, useId, useMemo, useRef, useState } from 'react'

import type { Problem } from '../../api/http'
import { completionSource } from '../../query/completion'
import { toUtf16 } from '../../query/position'
import { Button } from '../../ui/Button'
import { Icon } from '../../ui/Icon'
import { useShortcuts } from '../../ui/shortcuts'
import type { View } from '../../view/view'
import { addToHistory } from '../search-bar/history'
import { QueryEditor } from '../search-bar/QueryEditor'
import { useLookup } from '../search-bar/useLookup'
import styles from './TailBar.module.css'

interface TailBarProps {
  view: View
  onChange: (part: Partial<View>) => void
  /** Follow the same anew, from now on. */
  onAgain: () => void
  problem: Problem | null
  held: boolean
  onPause: () => void
  isOver: boolean
  onStop: () => void
}

export function TailBar({ view, onChange, onAgain, problem, held, onPause, isOver, onStop }: TailBarProps) {
  const [draft, setDraft] = useState(view.query)
  useEffect(() => setDraft(view.query), [view.query])
  const editor = useRef<EditorView | null>(null)
  const errorId = useId()
  const lookup = useLookup(view)
  const completion = useMemo(() => completionSource(lookup), [lookup])
  const error = useMemo(() => {
    if (problem?.status !== 400 || problem.position === undefined) return null
    return { message: problem.message, position: toUtf16(view.query, problem.position) }
  }, [problem, view.query])
  const run = (query = draft) => {
    addToHistory(query)
    if (query === view.query) onAgain()
    else onChange({ query })
  }
  useShortcuts({ '/': () => editor.current?.focus() })
  return (
    <form
      role="search"
      className={styles.bar}
      onSubmit={(event) => {
        event.preventDefault()
        run()
      }}
    >
      <div className={styles.box}>
        <QueryEditor
          value={draft}
          error={draft === view.query ? error : null}
          errorId={errorId}
          completion={completion}
          onChange={setDraft}
          onSubmit={run}
          editor={editor}
        />
      </div>
      <div className={styles.controls}>
        {draft !== view.query && (
          <Button type="submit" weight="primary">
            Follow this
          </Button>
        )}
        <Button className={styles.control} onClick={onPause} aria-pressed={held} disabled={isOver} title="Pause (p)">
          <Icon name={held ? 'right' : 'pause'} /> {held ? 'Go on' : 'Pause'}
        </Button>
        <Button className={styles.control} onClick={onStop} title={isOver ? 'Start (s)' : 'Stop (s)'}>
          <Icon name={isOver ? 'right' : 'stop'} /> {isOver ? 'Start' : 'Stop'}
        </Button>
      </div>
      <p id={errorId} className="quiet">
        {error?.message}
      </p>
    </form>
  )
}
