/** The commands: what the panel's buttons do, for the palette, the menu and the keyboard. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard } from '@jupyterlab/apputils';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Finding, Fix } from './_schema';
import { doctorIcon } from './components/icons';
import { reportMarkdown } from './markdown';
import type { DoctorModel } from './model';
import { CommandIDs, PANEL_ID } from './tokens';

/** A link that a browser may open; null for anything else a cluster may have sent. */
export function safeLink(link: string | null | undefined): string | null {
  if (!link) {
    return null;
  }
  try {
    const url = new URL(link);
    return url.protocol === 'http:' || url.protocol === 'https:'
      ? url.href
      : null;
  } catch {
    return null;
  }
}

const NO_ARGS = { args: { type: 'object' as const, properties: {} } };
const FIX_ARGS = {
  args: {
    type: 'object' as const,
    properties: {
      finding: {
        type: 'string' as const,
        description:
          'Id of the finding; the worst one that can be mended when left out'
      },
      fix: {
        type: 'number' as const,
        description:
          'Which of its fixes, from 0; the first that edits the notebook when left out'
      }
    }
  }
};
const CELL_ARGS = {
  args: {
    type: 'object' as const,
    properties: {
      cell: {
        type: 'string' as const,
        description: 'Id of the cell; that of the worst finding when left out'
      }
    }
  }
};

/** The finding and fix that a command is about: named by its arguments, else the first fix of the worst finding. */
function pick(
  model: DoctorModel,
  args: { finding?: unknown; fix?: unknown }
): { finding: Finding; fix: Fix } | null {
  const { told, ignored } = model.state;
  const findings = (told?.report?.findings ?? []).filter(
    each => !ignored.includes(each.id)
  );
  const finding =
    args.finding === undefined
      ? findings.find(each => each.fixes.some(fix => fix.edits.length > 0))
      : findings.find(each => each.id === args.finding);
  const fix =
    typeof args.fix === 'number'
      ? finding?.fixes[args.fix]
      : finding?.fixes.find(each => each.edits.length > 0);
  return finding && fix ? { finding, fix } : null;
}

export function addCommands(options: {
  app: JupyterFrontEnd;
  model: DoctorModel;
  trans: TranslationBundle;
  palette: ICommandPalette | null;
}): void {
  const { app, model, trans, palette } = options;
  const { commands } = app;
  const hasNotebook = () => model.panel !== null;
  const dashboard = () => safeLink(model.state.told?.vitals?.dashboard_link);

  commands.addCommand(CommandIDs.openPanel, {
    describedBy: NO_ARGS,
    label: trans.__('Open the Dask Doctor'),
    icon: doctorIcon,
    execute: () => {
      app.shell.activateById(PANEL_ID);
    }
  });
  commands.addCommand(CommandIDs.checkNow, {
    describedBy: NO_ARGS,
    label: trans.__('Check the Cluster Now'),
    isEnabled: hasNotebook,
    execute: () => {
      app.shell.activateById(PANEL_ID);
      model.checkNow();
    }
  });
  commands.addCommand(CommandIDs.togglePin, {
    describedBy: NO_ARGS,
    label: trans.__('Stay With This Notebook'),
    isEnabled: hasNotebook,
    isToggleable: true,
    isToggled: () => model.isPinned,
    execute: () => {
      model.isPinned = !model.isPinned;
    }
  });
  commands.addCommand(CommandIDs.togglePause, {
    describedBy: NO_ARGS,
    label: trans.__('Pause Watching'),
    isEnabled: hasNotebook,
    isToggleable: true,
    isToggled: () => model.isPaused,
    execute: () => {
      model.isPaused = !model.isPaused;
    }
  });
  for (const run of [false, true]) {
    commands.addCommand(run ? CommandIDs.runFix : CommandIDs.insertFix, {
      describedBy: FIX_ARGS,
      label: run
        ? trans.__('Insert and Run the First Fix')
        : trans.__('Insert the First Fix'),
      isEnabled: args => pick(model, args) !== null,
      execute: async args => {
        const picked = pick(model, args);
        return picked ? model.apply(picked.finding, picked.fix, run) : null;
      }
    });
  }
  commands.addCommand(CommandIDs.goToCell, {
    describedBy: CELL_ARGS,
    label: trans.__('Go to the Cell of the Worst Finding'),
    isEnabled: hasNotebook,
    execute: args => {
      const id =
        typeof args.cell === 'string'
          ? args.cell
          : model.state.told?.report?.findings.find(
              each => each.at?.cell_id != null
            )?.at?.cell_id;
      return id ? model.goTo(id) : false;
    }
  });
  commands.addCommand(CommandIDs.copyReport, {
    describedBy: NO_ARGS,
    label: trans.__('Copy Report as Markdown'),
    isEnabled: () => model.state.told?.report != null,
    execute: () => {
      const { told, ignored } = model.state;
      if (told?.report) {
        Clipboard.copyToSystem(reportMarkdown(told.report, ignored));
      }
    }
  });
  commands.addCommand(CommandIDs.openDashboard, {
    describedBy: NO_ARGS,
    label: trans.__('Open Dask Dashboard'),
    isEnabled: () => dashboard() !== null,
    execute: () => {
      const link = dashboard();
      if (link !== null) {
        window.open(link, '_blank', 'noopener,noreferrer');
      }
    }
  });
  commands.addCommand(CommandIDs.openSettings, {
    describedBy: NO_ARGS,
    label: trans.__('Dask Doctor Settings'),
    isEnabled: () => commands.hasCommand('settingeditor:open'),
    execute: () =>
      commands.execute('settingeditor:open', { query: 'Dask Doctor' })
  });

  if (palette) {
    const category = trans.__('Dask Doctor');
    for (const command of Object.values(CommandIDs)) {
      palette.addItem({ command, category });
    }
  }
  const refresh = () => {
    for (const command of Object.values(CommandIDs)) {
      commands.notifyCommandChanged(command);
    }
  };
  let before = '';
  model.changed.connect(() => {
    // Menus need not follow every point of a line.
    const { isPaused, isPinned, phase, told } = model.state;
    const now = `${isPaused} ${isPinned} ${phase} ${told?.report?.time} ${told?.vitals?.dashboard_link}`;
    if (now !== before) {
      before = now;
      refresh();
    }
  });
}
