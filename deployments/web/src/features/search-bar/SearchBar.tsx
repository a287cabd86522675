// The question: query, executor, time range, run or stop.
import { useState } from 'react'

import type { Problem } from '../../api/http'
import type { Executor } from '../../api/types'
import { Button, IconButton } from '../../ui/Button'
import { Icon } from '../../ui/Icon'
import { Menu, MenuItem, MenuLabel } from '../../ui/Menu'
import { useShortcuts } from '../../ui/shortcuts'
import type { View } from '../../view/view'
import { ExplainButton } from '../explain/ExplainButton'
import { TimeRange } from '../time-range/TimeRange'
import { clearHistory, readHistory } from './history'
import { QuestionForm } from './QuestionForm'
import styles from './SearchBar.module.css'
import { useQuestion } from './useQuestion'

interface SearchBarProps {
  view: View
  onChange: (part: Partial<View>) => void
  /** Ask the same again. */
  onAgain: () => void
  running: boolean
  onCancel: () => void
  problem: Problem | null
}

const EXECUTORS: readonly { value: Executor; label: string }[] = [
  { value: 'auto', label: 'Auto' },
  { value: 'ray', label: 'Ray' },
  { value: 'lambda', label: 'Lambda' },
]

export function SearchBar({ view, onChange, onAgain, running, onCancel, problem }: SearchBarProps) {
  const question = useQuestion(view, problem, onChange, onAgain)
  const { draft, errorId, editor, run } = question
  const error = question.isRun ? question.error : null
  useShortcuts({ '/': () => editor.current?.focus(), r: () => run(view.query) })
  return (
    <QuestionForm
      question={question}
      look={styles}
      before={<HistoryMenu onChoose={run} />}
      after={
        draft !== '' && <IconButton icon="close" label="Clear the query" weight="plain" small onClick={() => run('')} />
      }
      controls={
        <>
          <TimeRange view={view} onChange={onChange} />
          <label className={styles.executor}>
            <span className="quiet">Executor</span>
            <select value={view.executor} onChange={(event) => onChange({ executor: event.target.value as Executor })}>
              {EXECUTORS.map(({ value, label }) => (
                <option key={value} value={value}>
                  {label}
                </option>
              ))}
            </select>
          </label>
          <ExplainButton view={{ ...view, query: draft }} />
          {/* Keys: else React makes one into the other, and a click on the first may submit the form as the second. */}
          {running ? (
            <Button key="stop" className={styles.run} onClick={onCancel} title="Stop this search (Esc)">
              <Icon name="stop" /> Stop
            </Button>
          ) : (
            <Button key="run" className={styles.run} weight="primary" type="submit" title="Run this search (Enter)">
              <Icon name="search" /> Search
            </Button>
          )}
        </>
      }
    >
      <p id={errorId} className={styles.error} role="alert">
        {error?.message}
      </p>
    </QuestionForm>
  )
}

const SHOWN_QUERIES = 15

function HistoryMenu({ onChoose }: { onChoose: (query: string) => void }) {
  const [queries, setQueries] = useState<string[]>([])
  return (
    <Menu
      align="start"
      onOpen={() => setQueries(readHistory().slice(0, SHOWN_QUERIES))}
      trigger={<IconButton icon="history" label="Earlier queries" weight="plain" small />}
    >
      <MenuLabel>{queries.length === 0 ? 'No query was run yet' : 'Earlier queries'}</MenuLabel>
      {queries.map((query) => (
        <MenuItem key={query} onSelect={() => onChoose(query)}>
          <code className={styles.earlier}>{query}</code>
        </MenuItem>
      ))}
      {queries.length > 0 && <MenuItem onSelect={clearHistory}>Forget all</MenuItem>}
    </Menu>
  )
}
