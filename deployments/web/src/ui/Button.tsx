// Buttons: one look, three weights. An icon alone needs a `label`, which is its name and its tooltip.
import type { ComponentProps } from 'react'

import styles from './Button.module.css'
import { classes } from './classes'
import { Icon, type IconName } from './Icon'

export interface ButtonProps extends ComponentProps<'button'> {
  weight?: 'primary' | 'usual' | 'plain'
  small?: boolean
}

export function Button({ weight = 'usual', small = false, className, type = 'button', ...rest }: ButtonProps) {
  return <button {...rest} type={type} className={buttonClass(weight, small, className)} />
}

/** The same look for a link. */
export function buttonClass(weight: ButtonProps['weight'] = 'usual', small = false, more?: string): string {
  return classes(
    styles.button,
    weight === 'primary' && styles.primary,
    weight === 'plain' && styles.plain,
    small && styles.small,
    more,
  )
}

export interface IconButtonProps extends Omit<ButtonProps, 'aria-label' | 'children'> {
  icon: IconName
  label: string
}

export function IconButton({ icon, label, className, title, ...rest }: IconButtonProps) {
  return (
    <Button {...rest} className={classes(styles.icon, className)} aria-label={label} title={title ?? label}>
      <Icon name={icon} size={rest.small ? 14 : 16} />
    </Button>
  )
}
