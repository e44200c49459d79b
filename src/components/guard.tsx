/** A fault of ours in one part of the panel must not take the others with it. */
import React from 'react';

import { cut } from '../format';
import { Tools } from './tools';

interface IProps {
  /** Another value lets the part try again. */
  about: string;
  children: React.ReactNode;
}

interface IFault {
  error: Error | null;
  about: string;
}

export class Guard extends React.Component<IProps, IFault> {
  static override contextType = Tools;
  declare context: React.ContextType<typeof Tools>;

  static getDerivedStateFromError(error: Error): Partial<IFault> {
    return { error };
  }

  static getDerivedStateFromProps(
    props: IProps,
    state: IFault
  ): Partial<IFault> | null {
    return props.about === state.about
      ? null
      : { about: props.about, error: null };
  }

  override state: IFault = { error: null, about: this.props.about };

  override render(): React.ReactNode {
    const { error } = this.state;
    if (error === null) {
      return this.props.children;
    }
    return (
      <p className="jp-DaskDoctorPanel-note" role="alert">
        {this.context.trans.__(
          'This part could not be shown, by a fault of the doctor: %1',
          cut(String(error.message), 200)
        )}
      </p>
    );
  }
}
