import type { CompletionSource } from '@codemirror/autocomplete'
import { EditorState } from '@codemirror/state'
import { EditorView } from '@codemirror/view'
import { useEffect, useRef, type RefObject } from 'react'

import { extensions, setError, type QueryError } from './editor'
import styles from './QuestionForm.module.css'

interface QueryEditorProps {
  value: string
  error: QueryError | null
  errorId: string
  completion: CompletionSource
  onChange: (text: string) => void
  onSubmit: (text: string) => void
  /** Set to the editor, so that a shortcut can put the focus there. */
  editor: RefObject<EditorView | null>
}

export function QueryEditor({ value, error, errorId, completion, onChange, onSubmit, editor }: QueryEditorProps) {
  const place = useRef<HTMLDivElement>(null)
  const latest = useRef({ value, onChange, onSubmit, completion })
  useEffect(() => {
    latest.current = { value, onChange, onSubmit, completion }
  })
  useEffect(() => {
    if (place.current === null) return
    const view = new EditorView({
      parent: place.current,
      state: EditorState.create({
        doc: latest.current.value,
        extensions: extensions({
          label: 'Query',
          describedBy: errorId,
          hint: 'timeout level:ERROR service:api*',
          completion: (context) => latest.current.completion(context),
          onChange: (text) => latest.current.onChange(text),
          onSubmit: (text) => latest.current.onSubmit(text),
        }),
      }),
    })
    editor.current = view
    return () => {
      editor.current = null
      view.destroy()
    }
  }, [editor, errorId])
  useEffect(() => {
    const view = editor.current
    if (view && view.state.doc.toString() !== value) {
      view.dispatch({
        changes: { from: 0, to: view.state.doc.length, insert: value },
        selection: { anchor: value.length },
      })
    }
  }, [editor, value])
  useEffect(() => {
    editor.current?.dispatch({ effects: setError.of(error) })
  }, [editor, error])
  return <div ref={place} className={styles.editor} />
}
