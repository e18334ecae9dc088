// The views of the page, in the order of their tabs.
//
//   name      word of the address: #/map
//   title     text of the tab
//   at        what the endpoint sends while the view is shown
//   agentOf   the agent that the rest of the address names
//   needs     whether there is anything to show: needs(about)
//   View      component; its property `rest` is the rest of the address, and `visit` another number each time that it is gone to
import {EventsView} from "./events.js";
import {LogsView} from "./logs.js";
import {MapView} from "./map.js";
import {ModelsView} from "./models.js";
import {ReplayView} from "./replay.js";
import {TalkView} from "./talk.js";
import {TimeView} from "./time.js";

const hasBus = (about) => about.bus;

export const views = [
  {name: "map", title: "Map", at: ["map", "flows", "agent"], agentOf: (rest) => rest || null, needs: hasBus, View: MapView},
  {name: "replay", title: "Replay", needs: (about) => about.recording, View: ReplayView},
  {name: "time", title: "Time", at: ["requests"], View: TimeView},
  {name: "events", title: "Events", at: ["events"], needs: hasBus, View: EventsView},
  {name: "logs", title: "Logs", at: ["logs"], needs: hasBus, View: LogsView},
  {name: "talk", title: "Talk", needs: hasBus, View: TalkView},
  {name: "models", title: "Models and money", at: ["models"], needs: hasBus, View: ModelsView},
];
