import { render, screen } from '@testing-library/react';
import React from 'react';

import { Guard } from '../../components/guard';

function Part({ works }: { works: boolean }): JSX.Element {
  if (!works) {
    throw new Error('<b>oops</b>');
  }
  return <span>shown</span>;
}

describe('Guard', () => {
  let quiet: jest.SpyInstance;
  beforeEach(() => {
    // React tells of every caught fault.
    quiet = jest.spyOn(console, 'error').mockImplementation(() => undefined);
  });
  afterEach(() => quiet.mockRestore());

  it('keeps a fault to its part, and lets it try again', () => {
    const element = (about: string, works: boolean) => (
      <>
        <span>the rest</span>
        <Guard about={about}>
          <Part works={works} />
        </Guard>
      </>
    );
    const { container, rerender } = render(element('1', false));
    expect(screen.getByText('the rest')).toBeTruthy();
    expect(screen.getByRole('alert').textContent).toContain('<b>oops</b>');
    expect(container.querySelector('b')).toBeNull();
    rerender(element('2', true));
    expect(screen.getByText('shown')).toBeTruthy();
    expect(screen.queryByRole('alert')).toBeNull();
  });
});
