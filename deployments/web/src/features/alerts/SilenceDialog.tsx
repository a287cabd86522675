// Makes a silence: who matches, for how long, and why.
import { useState, type SubmitEvent } from 'react'

import { makeSilence } from '../../api/alerts'
import { asProblem, type Problem } from '../../api/http'
import { Button } from '../../ui/Button'
import { Dialog } from '../../ui/Dialog'
import form from '../../ui/Form.module.css'
import { Notice } from '../../ui/Notice'

const USUAL_LENGTH = '2h'

interface SilenceDialogProps {
  matchers: string
  onClose: () => void
  onMade: () => void
}

export function SilenceDialog({ matchers, onClose, onMade }: SilenceDialogProps) {
  const [typed, setTyped] = useState({ matchers, for: USUAL_LENGTH, comment: '' })
  const [problem, setProblem] = useState<Problem | null>(null)
  const [isSending, setSending] = useState(false)
  const make = async () => {
    setSending(true)
    try {
      await makeSilence(typed)
      onMade()
      onClose()
    } catch (error) {
      setProblem(asProblem(error))
      setSending(false)
    }
  }
  const keep = (event: SubmitEvent) => {
    event.preventDefault()
    void make()
  }
  return (
    <Dialog title="New silence" onClose={onClose}>
      <form className={form.form} onSubmit={keep}>
        <p>
          Nobody is told of alerts whose labels all match, until it ends: <code>=</code> and <code>!=</code> compare,{' '}
          <code>=~</code> and <code>!~</code> are regular expressions of the whole value.
        </p>
        {problem && <Notice kind="bad">{problem.message}</Notice>}
        <label className={form.label}>
          Matches
          <textarea
            className={form.input}
            rows={3}
            required
            spellCheck={false}
            placeholder={'alertname="High", service=~"api.*"'}
            value={typed.matchers}
            onChange={(event) => setTyped({ ...typed, matchers: event.target.value })}
          />
        </label>
        <label className={form.label}>
          For
          <input
            className={form.input}
            required
            spellCheck={false}
            placeholder="2h, 1d12h"
            value={typed.for}
            onChange={(event) => setTyped({ ...typed, for: event.target.value })}
          />
        </label>
        <label className={form.label}>
          Comment
          <input
            className={form.input}
            value={typed.comment}
            onChange={(event) => setTyped({ ...typed, comment: event.target.value })}
          />
        </label>
        <div className={form.buttons}>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" weight="primary" disabled={isSending}>
            Silence
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
