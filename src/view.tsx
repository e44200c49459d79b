/** The panel from top to bottom, from one state: nothing here asks, remembers or decides. */
import React from 'react';

import { ClusterView } from './components/cluster';
import { Header } from './components/header';
import { DataView } from './components/data';
import { GraphsView } from './components/graph';
import { Guard } from './components/guard';
import { MemoryView } from './components/memory';
import { Nothing } from './components/nothing';
import { ReportView } from './components/report';
import { Section } from './components/section';
import { Tools, useTools } from './components/tools';
import type { IActions, ITools } from './components/tools';
import { VitalsView } from './components/vitals';
import { cut } from './format';
import type { IState } from './tokens';

function Told(props: { state: IState; actions: IActions }): JSX.Element | null {
  const { trans } = useTools();
  const { state, actions } = props;
  const { told } = state;
  if (told === null) {
    return null;
  }
  const { report, vitals } = told;
  const places = { counts: state.counts, goTo: actions.goTo };
  const passed =
    report?.checks.filter(check => check.outcome === 'passed').length ?? 0;
  const open =
    report?.checks.filter(
      check => check.outcome === 'incomplete' || check.outcome === 'error'
    ).length ?? 0;
  const checkNote =
    open > 0
      ? trans.__('%1 passed, %2 not checked', passed, open)
      : trans.__('%1 passed', passed);
  return (
    <>
      {(told.status.kind === 'limited' || state.pulse === 'lost') &&
        (state.message || told.status.message) !== '' && (
          <p className="jp-DaskDoctorPanel-banner" role="status">
            {cut(state.message || told.status.message)}
          </p>
        )}
      {vitals !== null && (
        <Guard about={`${told.rev}`}>
          <VitalsView vitals={vitals} memory={told.memory} />
        </Guard>
      )}
      {report !== null ? (
        <Guard about={`${report.time}`}>
          <ReportView report={report} state={state} actions={actions} />
        </Guard>
      ) : (
        <p className="jp-DaskDoctorPanel-note" role="status">
          {trans.__('Examining…')}
        </p>
      )}
      <Section
        title={trans.__('Data')}
        note={`${told.collections.length || ''}`}
      >
        {() => (
          <DataView
            collections={told.collections}
            limit={told.cluster?.partition_limit ?? null}
            places={places}
          />
        )}
      </Section>
      <Section title={trans.__('Graph')} note={`${told.graphs.length || ''}`}>
        {() => (
          <GraphsView
            graphs={told.graphs}
            hidden={told.hidden_jobs}
            places={places}
          />
        )}
      </Section>
      <Section title={trans.__('Memory')}>
        {() => (
          <MemoryView
            memory={told.memory}
            workers={told.workers}
            vitals={vitals}
            cluster={told.cluster}
            session={told.session}
          />
        )}
      </Section>
      {vitals !== null && (
        <Section
          title={trans.__('Cluster')}
          note={report === null ? '' : checkNote}
        >
          {() => (
            <ClusterView
              cluster={told.cluster}
              vitals={vitals}
              report={report}
              now={told.time}
            />
          )}
        </Section>
      )}
      {told.left_out.map((words, i) => (
        <p key={i} className="jp-DaskDoctorPanel-note">
          {cut(words)}
        </p>
      ))}
    </>
  );
}

export function DoctorView(props: {
  state: IState;
  actions: IActions;
  tools: ITools;
}): JSX.Element {
  const { state, actions, tools } = props;
  const { trans } = tools;
  const hasReport = state.told !== null && state.told.vitals !== null;
  return (
    <Tools.Provider value={tools}>
      <Header state={state} actions={actions} />
      <div className="jp-DaskDoctorPanel-scroll" tabIndex={-1}>
        {hasReport ? (
          <Told state={state} actions={actions} />
        ) : (
          <Nothing state={state} actions={actions} />
        )}
        {state.isServerless && hasReport && (
          <p className="jp-DaskDoctorPanel-note">
            {trans.__(
              'The server extension jupyter_dask_doctor is not enabled: there are numbers, but no charts and no history.'
            )}
          </p>
        )}
      </div>
    </Tools.Provider>
  );
}
